"""The chest: lungs with vessels, mediastinum, heart, great vessels, airways, pleural fluid."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas, Frame
from organseg.data.phantom.fields import fine_grain
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import ellipsoid_depth, smooth_path, trace
from organseg.data.phantom.tissues import INTERIOR, Tissue, tissue_set

_LUNG_OR_FAT = tissue_set({Tissue.LUNG, Tissue.LUNG_VESSEL, Tissue.VISCERAL_FAT})
_CHEST = INTERIOR | _LUNG_OR_FAT


def paint_thorax(canvas: Canvas) -> None:
    """Everything above the diaphragm except aorta, vena cava and esophagus."""
    rng = canvas.patient.stream(Region.THORAX)
    view = canvas.view((-190, -150, 5), (190, 110, 360), Frame.BODY)
    if view.x.size == 0:
        return
    above = (view.cavity_depth > 2.0) & (view.dome_depth < 0)
    view.paint(above, Tissue.LUNG, over=tissue_set({Tissue.VISCERAL_FAT}))
    axes = tuple(axis[part] for axis, part in zip(canvas.axes_mm, view.box, strict=True))
    streaks = fine_grain(rng, (axes[0], axes[1], axes[2]), 5.0)
    hilar = np.exp(-((np.abs(view.x) - 40) ** 2 + (view.y + 10) ** 2) / 2 / 48.0**2)
    view.paint(streaks > 2.9 - 1.2 * hilar, Tissue.LUNG_VESSEL, over=tissue_set({Tissue.LUNG}))
    if rng.random() < 0.14:
        side = 1.0 if rng.random() < 0.5 else -1.0
        level = rng.uniform(25, 55)
        pool = (view.y > level - 0.25 * (130 - view.z)) & (view.x * side > 12) & above
        view.paint(pool, Tissue.PLEURAL_FLUID, over=_LUNG_OR_FAT)
    _paint_mediastinum(canvas, rng)
    _paint_heart(canvas, rng)
    _paint_airways(canvas)


def _paint_mediastinum(canvas: Canvas, rng: np.random.Generator) -> None:
    view = canvas.view((-55, -140, 40), (65, 45, 360), Frame.BODY)
    half = 13.0 + 9.0 * canvas.patient.visceral_fat
    width = np.where(view.y > -45, np.float32(27.0 + rng.normal(0, 2)), np.float32(half))
    width = np.where(view.z > 150, width, width * 1.1)
    band = (np.abs(view.x - 3.0) < width) & (view.y < 38) & (view.dome_depth < 4)
    view.paint(band, Tissue.MEDIASTINAL_FAT, over=_LUNG_OR_FAT)


def _paint_heart(canvas: Canvas, rng: np.random.Generator) -> None:
    size = float(rng.normal(1.0, 0.07))
    lift = -9.0 * canvas.patient.breath + float(rng.normal(0, 4))

    def chamber(
        center: tuple[float, float, float],
        radii: tuple[float, float, float],
        tissue: Tissue,
        wall_mm: float,
        turn: float,
    ) -> None:
        middle = (center[0], center[1], center[2] + lift)
        span = max(radii) * size + 14
        low = (middle[0] - span, middle[1] - span, middle[2] - span)
        high = (middle[0] + span, middle[1] + span, middle[2] + span)
        view = canvas.view(low, high)
        scaled = (radii[0] * size, radii[1] * size, radii[2] * size)
        depth = ellipsoid_depth(view, middle, scaled, (20.0, 0.0, turn))
        over_dome = (view.dome_depth < -2.0) & (view.cavity_depth > 1.5)
        fat_mm = 2.5 + 5.0 * canvas.patient.visceral_fat
        view.paint((depth > -fat_mm) & over_dome, Tissue.MEDIASTINAL_FAT, over=_LUNG_OR_FAT)
        view.paint((depth > 0) & over_dome, Tissue.MYOCARDIUM, over=_CHEST)
        view.paint((depth > wall_mm) & over_dome, tissue, over=_CHEST)

    chamber((-30, -52, 142), (27, 30, 38), Tissue.RIGHT_HEART_BLOOD, 2.5, 0.0)
    chamber((2, -20, 160), (34, 22, 24), Tissue.LEFT_HEART_BLOOD, 2.5, 0.0)
    chamber((8, -74, 132), (42, 27, 44), Tissue.RIGHT_HEART_BLOOD, 4.0, -25.0)
    chamber((42, -54, 134), (36, 33, 46), Tissue.LEFT_HEART_BLOOD, 11.0, -35.0)

    def vessel(points: list[tuple[float, float, float]], radius: float, tissue: Tissue) -> None:
        path = smooth_path(
            [(x, y, z + lift) for x, y, z in points], [radius * size] * len(points), 14.0
        )
        tube = trace(canvas, path)
        tube.view.paint(tube.depth > -2.5, Tissue.MEDIASTINAL_FAT, over=_LUNG_OR_FAT)
        tube.view.paint(tube.depth > 0, tissue, over=_CHEST)

    blood, left = Tissue.RIGHT_HEART_BLOOD, Tissue.LEFT_HEART_BLOOD
    vessel([(12, -84, 165), (20, -66, 195), (24, -38, 205)], 12.5, blood)
    vessel([(22, -45, 203), (-5, -36, 204), (-45, -22, 202)], 10.0, blood)
    vessel([(24, -40, 205), (48, -14, 205)], 9.5, blood)
    vessel(
        [(2, -52, 165), (-10, -60, 195), (-8, -52, 232), (6, -30, 246), (20, -2, 234)], 14.0, left
    )
    vessel([(-28, -46, 172), (-28, -42, 215), (-24, -44, 270), (-12, -56, 300)], 8.5, blood)
    vessel([(26, -22, 160), (52, -4, 172)], 6.0, left)
    vessel([(-26, -20, 160), (-52, -4, 172)], 6.0, left)


def _paint_airways(canvas: Canvas) -> None:
    pieces = (
        ([(0, -14, 340), (0, -16, 280), (0, -16, 226)], [8.5, 8.5, 8.5]),
        ([(0, -16, 228), (28, -8, 207), (52, 0, 190)], [7.0, 6.0, 4.5]),
        ([(0, -16, 228), (-24, -8, 210), (-50, 0, 188)], [7.5, 6.5, 4.5]),
    )
    for points, radii in pieces:
        tube = trace(canvas, smooth_path(points, radii, 14.0))
        tube.view.paint(tube.depth > -1.8, Tissue.MYOCARDIUM, over=_CHEST)
        tube.view.paint(tube.depth > 0, Tissue.AIRWAY, over=_CHEST | tissue_set({Tissue.AIRWAY}))
