"""`generate`: a whole phantom from a seed, as a volume of tissue labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from organseg.data.phantom.body import CENTER_Y_MM, Build, draw_build, paint_body
from organseg.data.phantom.bowel import paint_colon, paint_mesentery, paint_small_bowel
from organseg.data.phantom.canvas import Canvas, scan_origin
from organseg.data.phantom.fields import FloatArray
from organseg.data.phantom.lesions import paint_lesions
from organseg.data.phantom.liver import paint_gallbladder, paint_liver
from organseg.data.phantom.muscles import paint_muscles
from organseg.data.phantom.patient import Patient, draw_patient
from organseg.data.phantom.pelvis import paint_ascites, paint_pelvic_organs
from organseg.data.phantom.skeleton import paint_skeleton
from organseg.data.phantom.solid_organs import paint_adrenals, paint_kidneys, paint_spleen
from organseg.data.phantom.stomach import (
    paint_duodenum,
    paint_esophagus,
    paint_pancreas,
    paint_stomach,
)
from organseg.data.phantom.surroundings import ARM_REACH_MM, paint_arms, paint_table
from organseg.data.phantom.thorax import paint_thorax
from organseg.data.phantom.tissues import ORGAN_OF_TISSUE
from organseg.data.phantom.vessels import paint_vessels
from organseg.errors import InvalidInputError


class Coverage(Enum):
    """Which levels a scan covers, in mm of the reference adult (z = 0 is vertebra L1)."""

    WHOLE = (-300.0, 235.0)
    """Chest to pelvis."""
    ABDOMEN = (-112.0, 132.0)
    """The diaphragm's domes to below the kidneys."""
    CHEST = (85.0, 260.0)
    """Above the abdomen: heart and lungs, with the top of the liver at most."""
    PELVIS = (-310.0, -95.0)
    """Below the kidneys."""
    RANDOM = (0.0, 0.0)
    """Drawn by the seed: mostly the abdomen, shifted and stretched, now and then another."""


@dataclass(frozen=True)
class Phantom:
    """Synthetic anatomy: slice 0 is nearest the feet, rows run to posterior, columns to left."""

    tissues: NDArray[np.uint8]
    """`Tissue` values [slice, row, column]."""
    spacing_mm: tuple[float, float, float]
    """Distance of slices, rows and columns."""
    lowest_z_mm: float
    """Level of slice 0 before the patient's own scale; 0 is vertebra L1."""
    patient: Patient
    """Who this is."""

    @property
    def organ_labels(self) -> NDArray[np.uint8]:
        """Organ ids, FLARE22 1 to 13 and 0 for background, [slice, row, column]."""
        return ORGAN_OF_TISSUE[self.tissues]

    @property
    def levels_mm(self) -> NDArray[np.float32]:
        """The level of every slice in mm of the reference adult; 0 is vertebra L1."""
        steps = self.lowest_z_mm + np.arange(len(self.tissues)) * self.spacing_mm[0]
        levels: NDArray[np.float32] = (steps / self.patient.scale_xyz[2]).astype(np.float32)
        return levels

    def volume_ml(self, organ_id: int) -> float:
        """The organ's volume in millilitres inside this scan."""
        voxel_ml = float(np.prod(self.spacing_mm)) / 1000.0
        return float(np.count_nonzero(self.organ_labels == organ_id)) * voxel_ml

    def slab(self, start: int, stop: int) -> Phantom:
        """The slices from `start` up to, not including, `stop`, as a phantom of their own."""
        if not 0 <= start < stop <= len(self.tissues):
            raise InvalidInputError(
                f"A slab needs 0 <= start < stop <= {len(self.tissues)}; got {start} to {stop}. "
                "Choose slices inside the phantom."
            )
        lowest = self.lowest_z_mm + start * self.spacing_mm[0]
        return replace(self, tissues=self.tissues[start:stop], lowest_z_mm=lowest)


def draw_levels(seed: int, coverage: Coverage) -> tuple[float, float]:
    """Lowest and highest level of the scan, in mm of the reference adult."""
    if coverage is not Coverage.RANDOM:
        return (coverage.value[0], coverage.value[1])
    rng = np.random.default_rng([seed, 100])
    kind = rng.choice(4, p=[0.66, 0.20, 0.06, 0.08])
    low, high = (Coverage.ABDOMEN, Coverage.WHOLE, Coverage.CHEST, Coverage.PELVIS)[int(kind)].value
    return low + float(rng.normal(0, 14)), high + float(rng.normal(0, 14))


def generate(
    seed: int,
    *,
    coverage: Coverage | tuple[float, float] = Coverage.RANDOM,
    slices: int = 46,
    size_hw: tuple[int, int] = (256, 256),
    pixel_mm: float | None = None,
) -> Phantom:
    """The phantom of this seed; the same arguments always give the same bytes.

    The anatomy depends on the seed alone: coverage, number of slices and size only decide where
    it is sampled. `coverage` may also be two levels in mm of the reference adult (lowest,
    highest). `pixel_mm` is the in-plane spacing; without it the field of view is drawn to suit
    the patient's girth. Raises `InvalidInputError` for a negative seed, an empty grid or levels
    that do not rise.
    """
    levels = draw_levels(max(seed, 0), coverage) if isinstance(coverage, Coverage) else coverage
    if seed < 0 or slices < 2 or min(size_hw) < 16 or not levels[0] < levels[1]:
        raise InvalidInputError(
            "A phantom needs seed >= 0, slices >= 2, at least 16 by 16 pixels and rising levels; "
            f"got seed {seed}, {slices} slices of {size_hw[0]} by {size_hw[1]}, levels "
            f"{levels[0]:.0f} to {levels[1]:.0f} mm. Correct these arguments."
        )
    patient = draw_patient(seed)
    build = draw_build(patient)
    low, high = (level * patient.scale_xyz[2] for level in levels)
    if pixel_mm is None:
        girth = 2 * max(build.skin.half_width_mm[5:8]) * patient.scale_xyz[0]
        margin = float(np.random.default_rng([seed, 101]).uniform(1.04, 1.32))
        pixel_mm = float(np.clip(girth * margin, 300.0, 500.0)) / min(size_hw)
    spacing = ((high - low) / (slices - 1), pixel_mm, pixel_mm)
    scan_z, scan_y, scan_x = (
        (offset + np.arange(count) * step).astype(np.float32)
        for offset, count, step in (
            (low, slices, spacing[0]),
            (-(size_hw[0] - 1) / 2 * pixel_mm, size_hw[0], pixel_mm),
            (-(size_hw[1] - 1) / 2 * pixel_mm, size_hw[1], pixel_mm),
        )
    )
    rows, columns = _window(patient, build, scan_y, scan_x)
    canvas = Canvas(patient, (scan_z, scan_y[rows], scan_x[columns]))
    _paint(canvas, build)
    tissues = np.zeros((slices, *size_hw), dtype=np.uint8)
    tissues[:, rows, columns] = canvas.tissues
    paint_table(tissues, scan_y, scan_x, patient)
    return Phantom(tissues, spacing, low, patient)


def _window(
    patient: Patient, build: Build, scan_y: FloatArray, scan_x: FloatArray
) -> tuple[slice, slice]:
    """The rows and columns that the body can reach; around them is only air."""
    skin = build.skin
    half_x = max(skin.half_width_mm) + (ARM_REACH_MM if patient.arms_at_sides else 0.0)
    edges_y = (CENTER_Y_MM - max(skin.front_mm), CENTER_Y_MM + max(skin.back_mm))
    corners = np.array([(y, x) for y in edges_y for x in (-half_x, half_x)])
    angle = np.deg2rad(patient.rotation_deg)
    scaled = corners * [patient.scale_xyz[1], patient.scale_xyz[0]]
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scan = scaled @ turn + scan_origin(patient)
    # A superellipse stays inside its corners turned by a small angle; the warps add a little.
    parts = []
    for axis, values in ((scan_y, scan[:, 0]), (scan_x, scan[:, 1])):
        start = int(np.searchsorted(axis, values.min() - 14.0))
        stop = int(np.searchsorted(axis, values.max() + 14.0))
        start = min(start, len(axis) - 2)
        parts.append(slice(start, max(stop, start + 2)))
    return parts[0], parts[1]


def _paint(canvas: Canvas, build: Build) -> None:
    """All regions, from the frame to the organs; what is painted later lies on top."""
    paint_body(canvas, build)
    paint_muscles(canvas)
    paint_thorax(canvas)
    paint_skeleton(canvas, build)
    paint_mesentery(canvas)
    paint_small_bowel(canvas, build)
    paint_colon(canvas, build)
    paint_pelvic_organs(canvas)
    paint_liver(canvas)
    paint_spleen(canvas)
    paint_stomach(canvas)
    paint_gallbladder(canvas)
    paint_duodenum(canvas)
    paint_kidneys(canvas)
    paint_pancreas(canvas)
    paint_esophagus(canvas)
    paint_vessels(canvas)
    paint_adrenals(canvas)
    paint_lesions(canvas)
    paint_ascites(canvas)
    paint_arms(canvas, build)
