"""Muscles beside the spine and in the pelvis, the crura of the diaphragm, and their fat planes."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas, Frame, View
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import axial_band, by_level, smooth_path, trace
from organseg.data.phantom.skeleton import spine_y
from organseg.data.phantom.tissues import FAT_INSIDE, Tissue, tissue_set

_OVER_SOFT = tissue_set(
    {Tissue.VISCERAL_FAT, Tissue.MEDIASTINAL_FAT, Tissue.MUSCLE, Tissue.MUSCLE_FAT}
)
_OVER_MUSCLE = tissue_set({Tissue.MUSCLE})


def paint_muscles(canvas: Canvas) -> None:
    """Psoas, quadratus lumborum, iliacus, back muscles, gluteal and pelvic muscles, diaphragm."""
    rng = canvas.patient.stream(Region.MUSCLES)
    bulk = canvas.patient.muscle * float(rng.normal(1.0, 0.06))
    for side in (1.0, -1.0):
        _paint_psoas(canvas, side, bulk)
        _paint_back(canvas, side, float(rng.uniform(0.4, 1.6)) + canvas.patient.age)
        _paint_pelvic(canvas, side, bulk)
        _paint_crus(canvas, side, bulk)
    _paint_diaphragm(canvas)


def _paint_psoas(canvas: Canvas, side: float, bulk: float) -> None:
    # fmt: off
    points = [(23, 16, 22), (30, 20, -20), (38, 18, -72), (46, 10, -125), (60, -8, -185),
              (76, -24, -235), (92, -10, -290), (105, 12, -330)]
    # fmt: on
    radii = [5.0, 11.0, 17.0, 20.5, 20.0, 16.0, 13.0, 11.0]
    path = smooth_path([(side * x, y, z) for x, y, z in points], [r * bulk for r in radii], 14.0)
    tube = trace(canvas, path, Frame.BODY, 3.0)
    tube.view.paint(tube.depth > -1.2, Tissue.VISCERAL_FAT, over=_OVER_SOFT)
    tube.view.paint(tube.depth > 0, Tissue.MUSCLE, over=_OVER_SOFT)
    lumborum = smooth_path(
        [(side * 52, 38, 30), (side * 60, 42, -30), (side * 68, 44, -112)],
        [7 * bulk, 13 * bulk, 17 * bulk],
        14.0,
    )
    tube = trace(canvas, lumborum, Frame.BODY, 3.0, (0.75, 1.35, 1.0))
    tube.view.paint(tube.depth > -1.2, Tissue.VISCERAL_FAT, over=_OVER_SOFT)
    tube.view.paint(tube.depth > 0, Tissue.MUSCLE, over=_OVER_SOFT)


def _paint_back(canvas: Canvas, side: float, line_mm: float) -> None:
    low_x, high_x = sorted((0.0, side * 95.0))
    view = canvas.view((low_x, 20, -200), (high_x, 110, 300), Frame.BODY)
    z, center = view.z, spine_y(view.z)
    ones = np.ones_like(z)
    # Fat planes: between multifidus and erector spinae, and between these and their neighbours.
    for start, end in (
        ((12.0, 34.0), (30.0, 56.0)),
        ((42.0, 28.0), (66.0, 52.0)),
        ((0.0, 62.0), (40.0, 66.0)),
    ):
        line = axial_band(
            view,
            (side * start[0] * ones, center + start[1]),
            (side * end[0] * ones, center + end[1]),
        )
        view.paint(line < line_mm, Tissue.MUSCLE_FAT, over=_OVER_MUSCLE)


def _paint_pelvic(canvas: Canvas, side: float, bulk: float) -> None:
    low_x, high_x = sorted((0.0, side * 165.0))
    view = canvas.view((low_x, -85, -345), (high_x, 115, -110), Frame.BODY)
    z = view.z
    levels = (-225.0, -200.0, -165.0, -130.0)
    near = (
        by_level(z, levels, (55, 52, 50, 52)) * side,
        by_level(z, levels, (30, 38, 44, 46)),
    )
    far = (
        by_level(z, levels, (92, 100, 108, 104)) * side,
        by_level(z, levels, (-22, -24, -20, 2)),
    )
    thick = by_level(z, (-235, -200, -160, -125), (9.0, 11.0, 10.0, 3.0)) * bulk
    iliacus = (axial_band(view, near, far) < thick) & (z > -240) & (z < -120)
    view.paint(iliacus, Tissue.MUSCLE, over=_OVER_SOFT)
    ones = np.ones_like(z)
    gluteal = (z < -125) & (z > -320)
    for (ax, ay), (bx, by) in (
        ((62, 78), (140, 18)),
        ((70, 62), (132, -6)),
        ((120, -40), (140, 5)),
    ):
        line = axial_band(view, (side * ax * ones, ay * ones), (side * bx * ones, by * ones))
        view.paint((line < 1.8) & gluteal, Tissue.MUSCLE_FAT, over=_OVER_MUSCLE)
    # Obturator internus and the pelvic floor narrow the true pelvis.
    wall = axial_band(view, (side * 62 * ones, -28 * ones), (side * 54 * ones, 40 * ones))
    view.paint((wall < 8.0 * bulk) & (z < -228), Tissue.MUSCLE, over=_OVER_SOFT)
    below = view.cavity_depth > 0
    floor = below & (z < -305) & (np.abs(view.x) < 60)
    view.paint(floor, Tissue.MUSCLE, over=_OVER_SOFT)


def _paint_crus(canvas: Canvas, side: float, bulk: float) -> None:
    # The right crus is longer and thicker; both hug the spine and meet in front of the aorta.
    length = -72.0 if side < 0 else -45.0
    view = canvas.view((-45, -45, length), (45, 45, 92), Frame.BODY)
    z, center = view.z, spine_y(view.z)
    front = center - 15.0
    levels = (length, 0.0, 45.0, 90.0)
    start = (
        by_level(z, levels, (16, 21, 24, 28)) * side,
        front + by_level(z, levels, (0, 6, 12, 18)),
    )
    end = (
        by_level(z, levels, (13, 17, 10, 2)) * side + 4.0,
        front + by_level(z, levels, (-4, -12, -26, -34)),
    )
    thick = by_level(z, (length, -20, 30, 90), (1.5, 3.0, 4.2, 3.5)) * bulk
    band = axial_band(view, start, end)
    inside = (z > length) & (z < 86) & (view.dome_depth > -10)
    view.paint((band < thick) & inside, Tissue.DIAPHRAGM, over=FAT_INSIDE)


def _paint_diaphragm(canvas: Canvas) -> None:
    view: View = canvas.view((-170, -140, 0), (170, 100, 140), Frame.BODY)
    sheet = (view.dome_depth > 0) & (view.dome_depth < 3.2) & (view.cavity_depth > 0)
    slips = (view.cavity_depth > 0) & (view.cavity_depth < 2.6) & (view.dome_depth > 0)
    slips &= (view.z > 25) & (view.y > -70)
    view.paint(sheet | slips, Tissue.DIAPHRAGM, over=FAT_INSIDE)
