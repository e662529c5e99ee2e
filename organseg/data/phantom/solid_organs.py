"""Spleen, kidneys and adrenal glands."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas, Point, View
from organseg.data.phantom.patient import Patient, Region
from organseg.data.phantom.shapes import (
    axial_band,
    by_level,
    ellipsoid_depth,
    smooth_min,
    smooth_path,
    trace,
)
from organseg.data.phantom.tissues import FAT_INSIDE, Tissue, tissue_set

_RIGHT, _LEFT = 2, 13
_CORTEX = {_RIGHT: Tissue.RIGHT_RENAL_CORTEX, _LEFT: Tissue.LEFT_RENAL_CORTEX}
_MEDULLA = {_RIGHT: Tissue.RIGHT_RENAL_MEDULLA, _LEFT: Tissue.LEFT_RENAL_MEDULLA}
_KIDNEY = tissue_set({*_CORTEX.values(), *_MEDULLA.values()})


def view_around(canvas: Canvas, center: Point, reach_mm: float) -> View:
    """The voxels within a cube around a point."""
    return canvas.view(
        (center[0] - reach_mm, center[1] - reach_mm, center[2] - reach_mm),
        (center[0] + reach_mm, center[1] + reach_mm, center[2] + reach_mm),
    )


def paint_spleen(canvas: Canvas) -> None:
    """The spleen: a bean against the left posterior wall, hollow towards stomach and kidney."""
    patient = canvas.patient
    if not patient.has(3):
        return
    rng = patient.stream(Region.SPLEEN)
    size = float(np.clip(rng.lognormal(0.0, 0.13), 0.7, 1.5))
    center = (
        float(90 + 14 * patient.visceral_fat + rng.normal(0, 4)),
        float(24 + rng.normal(0, 6)),
        float(50 - 8 * patient.breath + rng.normal(0, 7)),
    )
    view = view_around(canvas, center, 78 * size)
    turn = (float(rng.normal(22, 8)), 0.0, float(rng.normal(22, 10)))
    bulk = ellipsoid_depth(
        view, center, (42 * size, float(rng.normal(56, 4)) * size, 59 * size), turn
    )
    hollow_at = (center[0] - 50 * size, center[1] - 18, center[2] - 4)
    hollow = ellipsoid_depth(view, hollow_at, (36.0, 34.0, 50.0), (0.0, 0.0, turn[2]))
    room = smooth_min(view.cavity_depth - np.float32(2.0), (view.dome_depth - 2.5) * 0.7, 5.0)
    depth = smooth_min(smooth_min(bulk, room, 6.0), -hollow, 7.0)
    if rng.random() < 0.3:
        notch = ellipsoid_depth(
            view, (center[0] - 6, center[1] - 50 * size, center[2]), (6.0, 18.0, 6.0)
        )
        depth = np.minimum(depth, -notch)
    view.paint((depth > -1.6) & (view.cavity_depth > 2), Tissue.VISCERAL_FAT)
    view.paint(depth > 0, Tissue.SPLEEN)
    if rng.random() < 0.15:
        spot = (center[0] - 34.0, center[1] - 22.0, center[2] - 18.0)
        accessory = view_around(canvas, spot, 12)
        ball = ellipsoid_depth(accessory, spot, (6.5, 6.0, 6.5))
        accessory.paint(ball > 0, Tissue.SPLEEN, over=FAT_INSIDE)


def kidney_center(patient: Patient, organ_id: int) -> Point:
    """Where this kidney's middle lies."""
    rng = patient.stream(Region.KIDNEYS)
    shifts = rng.normal(0, 1, (2, 3))
    row = shifts[0] if organ_id == _RIGHT else shifts[1]
    out = 7 * patient.visceral_fat
    fall = -7.0 * patient.breath
    base = (-62 - out, 13.0, -24 + fall) if organ_id == _RIGHT else (64 + out, 11.0, -8 + fall)
    return (
        float(base[0] + 3 * row[0]),
        float(base[1] + 3 * row[1]),
        float(base[2] + 8 * row[2]),
    )


def paint_kidneys(canvas: Canvas) -> None:
    """Both kidneys, where present: cortex, pyramids, sinus fat and renal pelvis."""
    for organ_id in (_RIGHT, _LEFT):
        if canvas.patient.has(organ_id):
            _paint_kidney(canvas, organ_id)


def _paint_kidney(canvas: Canvas, organ_id: int) -> None:
    patient = canvas.patient
    rng = np.random.default_rng([patient.seed, Region.KIDNEYS.value, organ_id])
    side = -1.0 if organ_id == _RIGHT else 1.0
    center = kidney_center(patient, organ_id)
    lost = patient.absent_organs & {_RIGHT, _LEFT}
    size = float(np.clip(rng.lognormal(0.0, 0.09), 0.72, 1.25)) * (1.12 if lost else 1.0)
    radii = (29.0 * size, 26.0 * size, 56.0 * size)
    # Upper poles lean to the spine and to the back; the hilum looks forward and inward.
    turn = (float(rng.normal(-12, 4)), side * float(rng.normal(12, 4)), side * 28.0)
    view = view_around(canvas, center, 72 * size)
    depth = ellipsoid_depth(view, center, radii, turn)
    lobes = np.sin(view.z * np.float32(0.21) + view.x * 0.1) * np.float32(rng.uniform(0.2, 1.3))
    depth = depth + lobes
    hilum = (center[0] - side * 19 * size, center[1] - 9 * size, center[2])
    sinus = ellipsoid_depth(
        view, hilum, (17.0 * size, 10.5 * size, 24.0 * size), (0.0, 0.0, side * 28.0)
    )
    fat_mm = 1.8 + 7.0 * patient.visceral_fat
    room = view.cavity_depth > 1.0
    view.paint((depth > -1.8) & room, Tissue.VISCERAL_FAT)
    liver_or_spleen = tissue_set({Tissue.LIVER, Tissue.SPLEEN})
    view.paint((depth > -fat_mm) & room & ~liver_or_spleen[view.tissues], Tissue.VISCERAL_FAT)
    body = depth > 0
    view.paint(body, _CORTEX[organ_id])
    # Pyramids: wedges that point to the sinus, parted by columns of cortex.
    angle = np.arctan2(view.y - hilum[1], view.x - hilum[0])
    column = np.cos(angle * 6.0 + view.z * np.float32(0.33))
    pyramid = (depth > 6.5 * size) & (column > -0.35) & (sinus < -0.5)
    view.paint(pyramid, _MEDULLA[organ_id])
    view.paint((sinus > 0) & (depth > -4), Tissue.VISCERAL_FAT, over=_KIDNEY)
    dilated = float(rng.uniform(2.0, 4.0)) if rng.random() < 0.1 else float(rng.uniform(0.7, 1.2))
    pelvis = ellipsoid_depth(
        view, hilum, (9.0 * size, min(3.2 * dilated, 9.0), 8.0 * dilated), (0, 0, side * 28.0)
    )
    view.paint(pelvis > 0, Tissue.RENAL_PELVIS)
    ureter = smooth_path(
        [
            (hilum[0] - side * 7, hilum[1], hilum[2] - 6),
            (side * 44, 2, -62),
            (side * 42, -8, -120),
            (side * 50, 18, -190),
            (side * 42, 22, -235),
            (side * 18, -8, -262),
        ],
        [2.4 * min(dilated, 2.0)] + [1.9] * 5,
        16.0,
    )
    tube = trace(canvas, ureter, margin_mm=1.5)
    tube.view.paint(tube.depth > 0, Tissue.RENAL_PELVIS, over=FAT_INSIDE)
    if rng.random() < 0.12:
        stone = (hilum[0] + side * 9, hilum[1] + 3, hilum[2] + float(rng.uniform(-18, 18)))
        small = view_around(canvas, stone, 9)
        ball = ellipsoid_depth(small, stone, (3.5, 3.0, 4.5))
        small.paint(ball > 0, Tissue.RENAL_STONE)


def paint_adrenals(canvas: Canvas) -> None:
    """The adrenals: thin limbs that part to the back, above and inside the kidneys' upper poles."""
    patient = canvas.patient
    for organ_id, tissue in ((7, Tissue.RIGHT_ADRENAL), (8, Tissue.LEFT_ADRENAL)):
        if not patient.has(organ_id):
            continue
        rng = np.random.default_rng([patient.seed, Region.ADRENALS.value, organ_id])
        if organ_id == 7:
            _paint_adrenal(canvas, rng, tissue, -1.0, (-31.0, 1.0), 43.0)
        else:
            _paint_adrenal(canvas, rng, tissue, 1.0, (32.0, -7.0), 35.0)


def _paint_adrenal(
    canvas: Canvas,
    rng: np.random.Generator,
    tissue: Tissue,
    side: float,
    apex_xy: tuple[float, float],
    level: float,
) -> None:
    x0 = apex_xy[0] + float(rng.normal(0, 1.5))
    y0 = apex_xy[1] + float(rng.normal(0, 1.8))
    z0 = level - 7.0 * canvas.patient.breath + float(rng.normal(0, 4))
    half = float(rng.uniform(15, 20))
    view = view_around(canvas, (x0, y0, z0), 36)
    z = view.z - np.float32(z0)
    thick = by_level(z, (-half, -0.6 * half, 0.5 * half, half), (1.2, 2.7, 2.9, 1.6))
    thick = thick * np.float32(rng.normal(1.0, 0.1))
    ones = np.ones_like(z)
    # The two limbs spread further apart towards the kidney.
    spread = by_level(z, (-half, half), (1.0, 0.35))
    body = axial_band(
        view, (x0 * ones, (y0 - 5.0) * ones), (x0 * ones + side * 1.0, (y0 + 4.0) * ones)
    )
    medial_x = x0 - side * float(rng.uniform(2, 6)) * spread
    medial = axial_band(
        view, (x0 + side * ones, (y0 + 3.0) * ones), (medial_x, y0 + 18.0 * (0.5 + 0.5 * spread))
    )
    lateral_x = x0 + side * float(rng.uniform(9, 14)) * spread
    lateral = axial_band(
        view, (x0 + side * ones, (y0 + 3.0) * ones), (lateral_x, y0 + 17.0 * (0.5 + 0.5 * spread))
    )
    lateral = np.where(z < 0.55 * half, lateral, np.float32(9))
    gland = (np.minimum(np.minimum(body, medial), lateral) < thick) & (np.abs(z) < half)
    near = np.minimum(np.minimum(body, medial), lateral) < thick + 2.0
    kept = _KIDNEY | tissue_set({Tissue.INFERIOR_VENA_CAVA, Tissue.AORTA, Tissue.PANCREAS})
    free = ~kept[view.tissues] & (view.dome_depth > 3)
    view.paint(near & (np.abs(z) < half + 2) & free, Tissue.VISCERAL_FAT)
    view.paint(gland & free, tissue)
