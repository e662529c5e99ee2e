"""Cysts, tumours and nodules inside the organs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organseg.data.phantom.canvas import Canvas, Point
from organseg.data.phantom.patient import Region
from organseg.data.phantom.shapes import ellipsoid_depth
from organseg.data.phantom.solid_organs import kidney_center, view_around
from organseg.data.phantom.tissues import FAT_INSIDE, Tissue, tissue_set

_LIVER = tissue_set({Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.HEPATIC_PORTAL_BRANCH})


def paint_lesions(canvas: Canvas) -> None:
    """Lesions, each kind in a share of the patients; they keep their organ's label."""
    rng = canvas.patient.stream(Region.LESIONS)
    _paint_liver_lesions(canvas, rng)
    for organ_id in (2, 13):
        _paint_renal_lesions(canvas, rng, organ_id)
    if rng.random() < 0.07:
        at = (float(rng.uniform(80, 112)), float(rng.uniform(5, 45)), float(rng.uniform(25, 70)))
        spleen = tissue_set({Tissue.SPLEEN})
        _paint_ball(canvas, rng, at, (4, 14), Tissue.SPLEEN_LESION, spleen)
    if rng.random() < 0.09:
        at = ((-28.0, -34.0, -18.0), (18.0, -46.0, 10.0), (58.0, -24.0, 24.0))[rng.integers(3)]
        kind = Tissue.PANCREATIC_TUMOUR if rng.random() < 0.6 else Tissue.PANCREATIC_CYST
        over = FAT_INSIDE | tissue_set({Tissue.PANCREAS, Tissue.PANCREATIC_DUCT})
        _paint_ball(canvas, rng, at, (8, 18), kind, over)
    for organ_id, at, own, kind in (
        (7, (-31.0, 6.0, 42.0), Tissue.RIGHT_ADRENAL, Tissue.RIGHT_ADRENAL_NODULE),
        (8, (33.0, -1.0, 34.0), Tissue.LEFT_ADRENAL, Tissue.LEFT_ADRENAL_NODULE),
    ):
        if rng.random() < 0.06 and canvas.patient.has(organ_id):
            _paint_ball(canvas, rng, at, (6, 13), kind, FAT_INSIDE | tissue_set({own}))


def _paint_liver_lesions(canvas: Canvas, rng: np.random.Generator) -> None:
    chance = rng.random()
    if chance > 0.42:
        return
    kind = (Tissue.LIVER_CYST, Tissue.LIVER_TUMOUR, Tissue.LIVER_BRIGHT_TUMOUR)[
        int(rng.choice(3, p=[0.4, 0.42, 0.18]))
    ]
    count = int(rng.integers(1, 4)) if chance > 0.1 else int(rng.integers(4, 12))
    for _ in range(count):
        at = (
            float(rng.uniform(-115, 30)), float(rng.uniform(-75, 40)), float(rng.uniform(-20, 95)),
        )  # fmt: skip
        _paint_ball(canvas, rng, at, (4, 26 if count < 4 else 14), kind, _LIVER)


def _paint_renal_lesions(canvas: Canvas, rng: np.random.Generator, organ_id: int) -> None:
    if not canvas.patient.has(organ_id):
        return
    right = organ_id == 2
    cortex = Tissue.RIGHT_RENAL_CORTEX if right else Tissue.LEFT_RENAL_CORTEX
    medulla = Tissue.RIGHT_RENAL_MEDULLA if right else Tissue.LEFT_RENAL_MEDULLA
    cyst = Tissue.RIGHT_RENAL_CYST if right else Tissue.LEFT_RENAL_CYST
    tumour = Tissue.RIGHT_RENAL_TUMOUR if right else Tissue.LEFT_RENAL_TUMOUR
    over = FAT_INSIDE | tissue_set({cortex, medulla})
    center = kidney_center(canvas.patient, organ_id)
    side = -1.0 if right else 1.0
    draws = rng.poisson(0.45 + 0.5 * canvas.patient.age)
    kinds = [cyst] * int(draws) + ([tumour] if rng.random() < 0.06 else [])
    for kind in kinds:
        angle, height = float(rng.uniform(-1.2, 1.8)), float(rng.uniform(-42, 42))
        inset = float(np.sqrt(max(0.1, 1 - (height / 56) ** 2)))
        at = (
            center[0] + side * 25 * inset * float(np.cos(angle)),
            center[1] + 22 * inset * float(np.sin(angle)),
            center[2] + height,
        )
        _paint_ball(canvas, rng, at, (4, 17), kind, over)


def _paint_ball(
    canvas: Canvas,
    rng: np.random.Generator,
    center: Point,
    radius_mm: tuple[float, float],
    tissue: Tissue,
    over: NDArray[np.bool_],
) -> None:
    # Small ones are commoner than large ones.
    low, high = radius_mm
    radius = low + (high - low) * float(rng.random()) ** 2.2
    shape = radius * rng.normal(1.0, 0.12, 3)
    view = view_around(canvas, center, radius * 1.6)
    depth = ellipsoid_depth(
        view, center, (float(shape[0]), float(shape[1]), float(shape[2])), (0.0, 0.0, 30.0)
    )
    view.paint(depth > 0, tissue, over=over)
