from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from organseg.errors import ImageError
from organseg.evaluation.surface import (
    SURFACE_TOLERANCE_MM,
    Z_RANGE_ORGAN_IDS,
    ZRange,
    _Surface,
    score_volume,
    surface_dice,
)
from organseg.organs import ORGANS, organ_by_name

LIVER, AORTA, ESOPHAGUS = (organ_by_name(name).id for name in ("liver", "aorta", "esophagus"))
SPACING_ZYX_MM = (5.0, 0.8, 1.2)


def ellipsoid(center, radii, shape=(12, 20, 18)):
    grid = np.indices(shape)
    return sum(((grid[i] - center[i]) / radii[i]) ** 2 for i in range(3)) <= 1


TRUTH = ellipsoid((5, 9, 8), (4, 7, 6))
PREDICTED = {
    "shift": ellipsoid((6, 10, 8), (4, 6, 7)),
    "holes": TRUTH & ~ellipsoid((5, 9, 8), (1.5, 3, 2)),
    "check": TRUTH & (np.indices(TRUTH.shape).sum(0) % 2 == 0),
    "edge": ellipsoid((0, 0, 0), (6, 8, 9)),
}

# Volume and middle-slice scores by DeepMind's surface-distance 0.1 on exactly these masks.
REFERENCE = [
    ("shift", (5.0, 0.8, 1.2), 1.0, 0.700967260459292, 0.7063815041849582),
    ("shift", (5.0, 0.8, 1.2), 2.0, 0.9134970565026043, 0.9832593984137679),
    ("holes", (5.0, 0.8, 1.2), 2.0, 0.929556578128528, 0.8367439765823028),
    ("check", (5.0, 0.8, 1.2), 1.0, 0.7011209251102718, 0.47927258377708754),
    ("check", (5.0, 0.8, 1.2), 2.0, 0.8620558115893562, 0.70244147644405),
    ("edge", (5.0, 0.8, 1.2), 1.0, 0.1426463357406932, 0.11709862642339615),
    ("edge", (5.0, 0.8, 1.2), 5.0, 0.42632483443616886, 0.49615088301353105),
    ("shift", (1.0, 1.0, 1.0), 1.0, 0.9048569704643392, 0.8163522991524659),
    ("holes", (1.0, 1.0, 1.0), 2.0, 0.9605512058514628, 0.8336405365712162),
    ("check", (1.0, 1.0, 1.0), 1.0, 0.8113305715989747, 0.5559451605652704),
    ("edge", (1.0, 1.0, 1.0), 2.0, 0.23760146956744152, 0.22295145311140305),
]


@pytest.mark.parametrize(("shape", "spacing_mm", "tolerance_mm", "volume", "middle"), REFERENCE)
def test_surface_dice_equals_the_reference_implementation(
    shape, spacing_mm, tolerance_mm, volume, middle
):
    predicted = PREDICTED[shape]
    # The two differ in the order of float64 sums only.
    assert surface_dice(TRUTH, predicted, spacing_mm, tolerance_mm) == pytest.approx(
        volume, abs=1e-12
    )
    assert surface_dice(TRUTH[5], predicted[5], spacing_mm[1:], tolerance_mm) == pytest.approx(
        middle, abs=1e-12
    )


def test_the_surface_area_agrees_with_scikit_images_mesh():
    vertices, faces, _, _ = marching_cubes(
        np.pad(TRUTH, 1).astype(float), 0.5, spacing=SPACING_ZYX_MM
    )
    area_mm2 = _Surface.of(TRUTH, SPACING_ZYX_MM).size.sum()
    # Convex bodies have no ambiguous cell, so both triangulate alike.
    assert area_mm2 == pytest.approx(mesh_surface_area(vertices, faces), rel=1e-5)


def test_a_rectangles_contour_has_its_length_less_the_cut_corners():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:6, 3:10] = True
    length_mm = _Surface.of(mask, (2.0, 3.0)).size.sum()
    corners = 4 * 0.5 * np.hypot(2.0, 3.0)
    assert length_mm == pytest.approx(2 * 3 * 2.0 + 2 * 6 * 3.0 + corners)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_tolerance_is_in_millimetres_along_each_axis(axis):
    truth = np.zeros((16, 16, 16), dtype=bool)
    truth[4:10, 4:10, 4:10] = True
    moved = np.roll(truth, 2, axis=axis)
    shift_mm = 2 * SPACING_ZYX_MM[axis]
    assert surface_dice(truth, moved, SPACING_ZYX_MM, shift_mm) == 1.0
    assert surface_dice(truth, moved, SPACING_ZYX_MM, 0.9 * shift_mm) < 1.0


def test_empty_masks_score_one_together_and_zero_alone():
    empty = np.zeros_like(TRUTH)
    assert surface_dice(empty, empty, SPACING_ZYX_MM, 2.0) == 1.0
    assert surface_dice(TRUTH, empty, SPACING_ZYX_MM, 2.0) == 0.0
    assert surface_dice(empty, TRUTH, SPACING_ZYX_MM, 2.0) == 0.0


def test_surface_dice_does_not_depend_on_which_mask_is_the_truth():
    other = PREDICTED["shift"]
    forth = surface_dice(TRUTH, other, SPACING_ZYX_MM, 1.0)
    assert forth == pytest.approx(surface_dice(other, TRUTH, SPACING_ZYX_MM, 1.0))


def test_masks_that_fill_the_image_have_a_surface_at_its_border():
    full = np.ones((6, 7), dtype=bool)
    assert surface_dice(full, full, (1.0, 1.0), 1.0) == 1.0
    assert surface_dice(full, ndimage.binary_erosion(full), (1.0, 1.0), 0.5) < 1.0


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0)])
def test_a_spacing_that_does_not_fit_is_refused(spacing_mm):
    with pytest.raises(ImageError, match="spacing"):
        surface_dice(TRUTH, TRUTH, spacing_mm, 1.0)


def test_every_organ_has_a_tolerance_and_three_have_a_z_range():
    assert set(SURFACE_TOLERANCE_MM) == {organ.id for organ in ORGANS}
    names = {organ.name for organ in ORGANS if organ.id in Z_RANGE_ORGAN_IDS}
    assert names == {"aorta", "inferior vena cava", "esophagus"}


def tube(first, last):
    volume = np.zeros((10, 12, 12), dtype=bool)
    volume[first : last + 1, 4:8, 4:8] = True
    return volume


@pytest.mark.parametrize("z_range", list(ZRange))
def test_an_aorta_drawn_beyond_the_labelled_slices_is_not_punished(z_range):
    score = score_volume(tube(3, 6), tube(0, 9), AORTA, SPACING_ZYX_MM, z_range)
    assert score.dice == 1.0


def test_a_liver_drawn_beyond_the_labelled_slices_is_punished():
    score = score_volume(tube(3, 6), tube(0, 9), LIVER, SPACING_ZYX_MM, ZRange.FIXED)
    assert score.dice == pytest.approx(2 * 4 / (4 + 10))


def test_the_official_range_misses_the_last_slice_and_the_fixed_one_does_not():
    truth, predicted = tube(3, 6), tube(3, 5)
    official = score_volume(truth, predicted, AORTA, SPACING_ZYX_MM, ZRange.OFFICIAL)
    fixed = score_volume(truth, predicted, AORTA, SPACING_ZYX_MM, ZRange.FIXED)
    assert official.dice == official.surface_dice == 1.0
    assert fixed.dice == pytest.approx(2 * 3 / (4 + 3))
    assert fixed.surface_dice < 1.0


def test_a_one_slice_esophagus_is_not_scored_officially_but_is_when_fixed():
    truth = tube(4, 4)
    official = score_volume(truth, truth, ESOPHAGUS, SPACING_ZYX_MM, ZRange.OFFICIAL)
    fixed = score_volume(truth, truth, ESOPHAGUS, SPACING_ZYX_MM, ZRange.FIXED)
    assert (official.dice, official.surface_dice) == (None, None)
    assert (fixed.dice, fixed.surface_dice) == (1.0, 1.0)


def test_a_one_slice_liver_is_scored_in_both_ways():
    truth = tube(4, 4)
    for z_range in ZRange:
        score = score_volume(truth, tube(4, 5), LIVER, SPACING_ZYX_MM, z_range)
        assert score.dice == pytest.approx(2 / 3)


@pytest.mark.parametrize("z_range", list(ZRange))
def test_an_absent_aorta_scores_one_if_left_blank_and_zero_if_drawn(z_range):
    empty = np.zeros_like(tube(0, 1))
    blank = score_volume(empty, empty, AORTA, SPACING_ZYX_MM, z_range)
    drawn = score_volume(empty, tube(2, 5), AORTA, SPACING_ZYX_MM, z_range)
    assert (blank.dice, blank.surface_dice) == (1.0, 1.0)
    assert (drawn.dice, drawn.surface_dice) == (0.0, 0.0)
