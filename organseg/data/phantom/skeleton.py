"""Bones of the trunk: vertebrae with canal and processes, ribs, sternum, sacrum, pelvis, femurs."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.body import Build
from organseg.data.phantom.canvas import Canvas, Frame, View
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import Path, Tube, axial_band, by_level, smooth_path, trace
from organseg.data.phantom.tissues import Tissue

# fmt: off
_CENTERS_MM = (-182.0, -146.0, -109.0, -72.0, -36.0, 0.0, 33.0, 62.0, 90.0, 116.0, 141.0, 165.0,
               188.0, 211.0, 233.0, 254.0, 274.0, 294.0)
_CURVE_Z = (-310.0, -290.0, -268.0, -230.0, -185.0, -150.0, -109.0, -50.0, 0.0, 60.0, 120.0, 200.0,
            290.0)
_CURVE_Y = (38.0, 50.0, 60.0, 55.0, 30.0, 16.0, 11.0, 12.0, 16.0, 23.0, 30.0, 32.0, 22.0)
# fmt: on
THORACIC_LEVEL_MM = {rib: _CENTERS_MM[6 + (12 - rib)] for rib in range(1, 13)}
"""Level of the thoracic vertebra that each rib starts from."""


def spine_y(z: FloatArray) -> FloatArray:
    """Where the middle of the vertebral bodies lies, mm to posterior, at each level."""
    return by_level(z, _CURVE_Z, _CURVE_Y)


def paint_bone(view: View, depth: FloatArray, shell_mm: float) -> None:
    """A bone: a cortical shell around cancellous bone."""
    view.paint(depth > 0, Tissue.CORTICAL_BONE, over=None)
    view.paint(depth > shell_mm, Tissue.CANCELLOUS_BONE, over=None)


def paint_skeleton(canvas: Canvas, build: Build) -> None:
    """All bones."""
    _paint_spine(canvas)
    _paint_ribs(canvas, build)
    _paint_sternum(canvas, build)
    _paint_pelvis(canvas)


def _paint_spine(canvas: Canvas) -> None:
    rng = canvas.patient.stream(Region.SKELETON)
    size = float(rng.normal(1.0, 0.05))
    view = canvas.view((-62, -25, -315), (62, 115, 330), Frame.BODY)
    z = view.z
    y = view.y - spine_y(z)
    x = view.x
    phase = np.interp(z, _CENTERS_MM, np.arange(len(_CENTERS_MM))).astype(np.float32)
    off = phase - np.round(phase)  # -0.5 to 0.5: from the lower to the upper disc of a vertebra
    sacrum = z < -170
    lumbar = z < 18
    wide = by_level(
        z, (-300, -270, -240, -200, -165, -100, 0, 100, 250), (8, 16, 36, 50, 32, 24, 22, 17, 14)
    )
    deep = by_level(z, (-300, -260, -220, -170, -100, 0, 100, 250), (6, 8, 12, 16, 16, 15, 14, 12))
    wide, deep = wide * size, deep * size
    waist = 1 - 0.07 * (1 - (2 * off) ** 2)
    q = np.sqrt((x / (wide * waist)) ** 2 + (y / (deep * waist)) ** 2)
    body = (1 - q) * deep
    canal_y = deep + by_level(z, (-280, -200, 0, 200), (2.0, 7.0, 7.5, 7.0)) * size
    canal = (1 - np.sqrt((x / (11.0 * size)) ** 2 + ((y - canal_y) / (8.0 * size)) ** 2)) * 8.0

    arch_here = (np.abs(off) < 0.36) | sacrum
    arch = np.where(arch_here, np.minimum(canal + 6.5, y - deep + 5.0), np.float32(-9))
    facet = 7.5 - np.sqrt((np.abs(x) - 16.0 * size) ** 2 + (y - canal_y - 5.0) ** 2)
    facet = np.where((z > -180) & (np.abs(off) > 0.22), facet, np.float32(-9))
    reach = np.where(lumbar, np.float32(40.0), np.float32(30.0))
    back = np.where(lumbar, np.float32(6.0), np.float32(20.0))
    shifted = View(view.tissues, np.abs(x), y, z, view.cavity_depth, view.dome_depth, view.box)
    transverse = 4.2 - axial_band(
        shifted, (wide * 0.75, canal_y - 1.0), (reach * size, canal_y + back - 2.0)
    )
    transverse = np.where((np.abs(off) < 0.2) & ~sacrum, transverse, np.float32(-9))
    length = by_level(z, (-240, -180, -100, 0, 100, 250), (4, 12, 30, 30, 28, 30)) * size
    spinous = 3.8 - axial_band(
        shifted, (np.zeros_like(z), canal_y + 10.0), (np.zeros_like(z), canal_y + 10.0 + length)
    )
    spinous = np.where((off > -0.48) & (off < 0.16), spinous, np.float32(-9))
    for piece, shell in ((arch, 2.0), (facet, 2.0), (transverse, 1.8), (spinous, 1.6)):
        paint_bone(view, piece.astype(np.float32), shell)
    paint_bone(view, body.astype(np.float32), 1.4)
    disc_half = np.where(lumbar, 0.13, 0.09)
    disc = (np.abs(off) > 0.5 - disc_half) & (z > -170)
    plate = (np.abs(off) > 0.5 - disc_half - 0.04) & (z > -170)
    view.paint((body > 0) & plate, Tissue.CORTICAL_BONE, over=None)
    view.paint((body > -1.0) & disc, Tissue.DISC, over=None)
    view.paint((canal > 0) & (z > -275), Tissue.SPINAL_CANAL, over=None)


def _paint_tube(tube: Tube, shell_mm: float) -> None:
    paint_bone(tube.view, tube.depth, shell_mm)


def _paint_ribs(canvas: Canvas, build: Build) -> None:
    rng = canvas.patient.stream(Region.SKELETON)
    slope = float(rng.normal(1.0, 0.12))
    thick = float(rng.normal(4.6, 0.4))
    for rib, level in THORACIC_LEVEL_MM.items():
        stop = {12: 0.75, 11: 0.05, 10: -0.55}.get(rib, -0.9)
        drop = {12: 85.0, 11: 105.0}.get(rib, 122.0) * slope
        angles = np.linspace(1.22, stop, 13)
        share = (1.22 - angles) / 2.1
        levels = level - 4 - drop * np.minimum(share, 1.0)
        fore = np.linspace(stop, -1.25 if rib > 6 else -1.42, 6)
        rise = levels[-1] + np.linspace(0, 48.0 if rib > 4 else 20.0, 6)
        bone = build.cavity.points(levels.astype(np.float32), angles.astype(np.float32), -6.0)
        gristle = build.cavity.points(rise.astype(np.float32), fore.astype(np.float32), -6.0)
        head = np.array([[17.0, np.interp(level, _CURVE_Z, _CURVE_Y) + 12.0, level + 4.0]])
        bone = np.concatenate([head, bone]).astype(np.float32)
        for side in (1.0, -1.0):
            flip = np.array([side, 1.0, 1.0], dtype=np.float32)
            path = smooth_path(bone * flip, [thick * 0.8] + [thick] * 13, 20.0)
            # Ribs are taller than thick: distances along z count for less.
            _paint_tube(trace(canvas, path, Frame.BODY, 1.5, (1.0, 1.0, 0.8)), 1.7)
            if rib <= 10:
                cartilage = smooth_path(gristle * flip, [thick] * 6, 20.0)
                tube = trace(canvas, cartilage, Frame.BODY, 1.5)
                tube.view.paint(tube.depth > 0, Tissue.CARTILAGE, over=None)


def _paint_sternum(canvas: Canvas, build: Build) -> None:
    _, front = build.cavity.point(150.0, -np.pi / 2, -7.0)
    view = canvas.view((-30, front - 14, 98), (30, front + 14, 262), Frame.BODY)
    half = by_level(view.z, (98, 120, 150, 230, 262), (4, 13, 17, 20, 26))
    inside = (view.z > 100) & (view.z < 256)
    depth = np.minimum(half - np.abs(view.x), 6.0 - np.abs(view.y - front))
    paint_bone(view, np.where(inside, depth, np.float32(-9)).astype(np.float32), 1.8)


def _paint_pelvis(canvas: Canvas) -> None:
    rng = canvas.patient.stream(Region.SKELETON)
    wide = float(rng.normal(1.0, 0.035))
    hip_replacement = rng.random() < 0.05
    # fmt: off
    levels = (-250.0, -225.0, -200.0, -165.0, -130.0, -105.0)
    medial = ((62.0, 58.0, 48.0, 41.0, 46.0, 62.0), (40.0, 46.0, 57.0, 64.0, 60.0, 46.0))
    lateral = ((96.0, 106.0, 117.0, 126.0, 118.0, 90.0), (-8.0, -18.0, -30.0, -27.0, 0.0, 30.0))
    # fmt: on
    for side in (1.0, -1.0):
        low_x, high_x = sorted((side * 25.0, side * 150.0))
        view = canvas.view((low_x, -62, -262), (high_x, 92, -98), Frame.BODY)
        z = view.z
        ends = [
            (by_level(z, levels, xs) * (side * wide), by_level(z, levels, ys))
            for xs, ys in (medial, lateral)
        ]
        (ax, ay), (bx, by) = ends
        middle = ((ax + bx) / 2 + side * 9.0, (ay + by) / 2 + 9.0)
        thick = by_level(z, (-250, -215, -180, -130, -104), (11.0, 8.0, 4.6, 4.2, 5.5))
        sheet = thick - np.minimum(
            axial_band(view, (ax, ay), middle), axial_band(view, middle, (bx, by))
        )
        here = (z > -252) & (z < -104)
        paint_bone(view, np.where(here, sheet, np.float32(-9)), 1.9)
        _paint_hip(canvas, side * wide, hip_replacement and side > 0)


def _paint_hip(canvas: Canvas, side: float, replaced: bool) -> None:
    def tube(points: list[tuple[float, float, float]], radii: list[float]) -> Tube:
        path: Path = smooth_path([(side * x, y, z) for x, y, z in points], radii, 9.0)
        return trace(canvas, path, Frame.BODY, 2.0)

    _paint_tube(tube([(70, -12, -248), (45, -40, -268), (9, -52, -284)], [11, 8, 12]), 2.2)
    _paint_tube(tube([(9, -50, -290), (38, -22, -312), (60, 22, -318)], [9, 7, 11]), 2.2)
    _paint_tube(tube([(72, 32, -250), (70, 40, -285), (62, 36, -318)], [15, 12, 14]), 2.2)
    cup = tube([(82, 6, -247), (84, 6, -251)], [33, 33])
    joint = tube([(91, 4, -254), (92, 4, -256)], [25, 25])
    open_side = np.float32(30.0) - (np.abs(cup.view.x) - np.float32(72.0 * abs(side)))
    paint_bone(cup.view, np.minimum(cup.depth, open_side), 2.0)
    joint.view.paint(joint.depth > 0, Tissue.CARTILAGE, over=None)
    femur = [
        tube([(92, 4, -256), (93, 4, -257)], [22.5, 22.5]),
        tube([(94, 5, -258), (112, 12, -272), (128, 20, -284)], [17, 16, 17]),
        tube([(128, 18, -280), (124, 14, -320), (120, 10, -365)], [19, 16, 15]),
    ]
    for piece in femur:
        if replaced:
            piece.view.paint(piece.depth > 3, Tissue.METAL, over=None)
        else:
            _paint_tube(piece, 2.0)
