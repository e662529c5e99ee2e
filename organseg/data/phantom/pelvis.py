"""Organs of the pelvis: bladder, uterus or prostate, the fat around them, and free fluid."""

from __future__ import annotations

import numpy as np

from organseg.data.phantom.canvas import Canvas
from organseg.data.phantom.patient import Region, Sex
from organseg.data.phantom.shapes import ellipsoid_depth
from organseg.data.phantom.tissues import FAT_INSIDE, GUT, INTERIOR, Tissue


def paint_pelvic_organs(canvas: Canvas) -> None:
    """Bladder in front; behind it uterus and ovaries, or below it prostate and seminal vesicles."""
    patient = canvas.patient
    rng = patient.stream(Region.PELVIS)
    fill = float(rng.uniform(0.45, 1.25))
    center = (float(rng.normal(0, 3)), -26.0, -268.0 + 14 * fill)
    view = canvas.view((-75, -85, -335), (75, 60, -175))
    radii = (38 * (0.6 + 0.4 * fill), 27 * fill + 6, 30 * fill)
    bladder = ellipsoid_depth(view, center, radii, (12.0, 0.0, 0.0))
    bladder = np.minimum(bladder, view.cavity_depth - 3.0)
    over = INTERIOR
    view.paint(bladder > -2.0, Tissue.VISCERAL_FAT, over=over)
    view.paint(bladder > 0, Tissue.BLADDER_WALL, over=over)
    view.paint(bladder > float(rng.uniform(2.0, 4.5)), Tissue.BLADDER_URINE, over=over)
    if patient.sex is Sex.FEMALE:
        size = float(np.clip(rng.normal(1.0, 0.2), 0.6, 1.5))
        at = (float(rng.normal(0, 8)), 10.0, -240.0)
        uterus = ellipsoid_depth(view, at, (26 * size, 20 * size, 27 * size), (-20.0, 0.0, 0.0))
        view.paint(uterus > -1.5, Tissue.VISCERAL_FAT, over=FAT_INSIDE | GUT)
        view.paint(uterus > 0, Tissue.UTERUS, over=FAT_INSIDE | GUT)
        for side in (1.0, -1.0):
            ovary = ellipsoid_depth(view, (at[0] + side * 38, 12, -236), (13.0, 9.0, 13.0))
            view.paint(ovary > 0, Tissue.UTERUS, over=FAT_INSIDE | GUT)
    else:
        size = float(np.clip(rng.normal(1.0 + 0.35 * patient.age, 0.12), 0.7, 1.7))
        gland = ellipsoid_depth(view, (0, -8, -302), (23 * size, 17 * size, 18 * size))
        view.paint(gland > 0, Tissue.PROSTATE, over=over)
        for side in (1.0, -1.0):
            vesicle = ellipsoid_depth(
                view, (side * 18, 6, -278), (17.0, 6.0, 6.0), (0.0, 0.0, side * 15.0)
            )
            view.paint(vesicle > 0, Tissue.PROSTATE, over=FAT_INSIDE)


def paint_ascites(canvas: Canvas) -> None:
    """Free fluid, in a few patients: around liver and spleen, in the flanks and the pelvis."""
    patient = canvas.patient
    rng = np.random.default_rng([patient.seed, Region.PELVIS.value, 1])
    if rng.random() > 0.08:
        return
    amount = float(rng.uniform(4.0, 16.0))
    view = canvas.view((-170, -150, -300), (170, 80, 120))
    edge = (view.cavity_depth > 1.0) & (view.cavity_depth < amount) & (view.dome_depth > 2)
    flank = (view.y < 30) & ((view.y > -55) | (view.z > 10)) & (np.abs(view.x) > 45)
    pouch = (view.z < -215) & (np.abs(view.x) < 55) & (view.y < 30)
    pouch &= view.cavity_depth > 2
    view.paint((edge & flank) | pouch, Tissue.ASCITES, over=FAT_INSIDE)
