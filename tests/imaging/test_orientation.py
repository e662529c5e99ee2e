from __future__ import annotations

import itertools

import numpy as np
import pytest

from organseg.errors import ImageError
from organseg.imaging.masks import box_of_mask
from organseg.imaging.orientation import (
    IDENTITY,
    DisplayOrientation,
    from_image_orientation,
    slice_normal,
)

ALL = [DisplayOrientation(*flags) for flags in itertools.product([False, True], repeat=3)]
AXIS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1)}


def test_the_eight_orientations_are_all_different():
    square = np.arange(16).reshape(4, 4)
    assert len({orientation.apply(square).tobytes() for orientation in ALL}) == 8


@pytest.mark.parametrize("orientation", ALL)
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (2, 3, 5, 7)])
def test_invert_undoes_apply_and_apply_undoes_invert(orientation, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(orientation.invert(orientation.apply(array)), array)
    assert np.array_equal(orientation.apply(orientation.invert(array)), array)


@pytest.mark.parametrize("orientation", ALL)
def test_the_first_pixel_goes_where_the_flags_say(orientation):
    stored = np.zeros((5, 7), dtype=int)
    stored[0, 1] = 1
    row, column = (1, 0) if orientation.transpose else (0, 1)
    height, width = (7, 5) if orientation.transpose else (5, 7)
    row = height - 1 - row if orientation.flip_rows else row
    column = width - 1 - column if orientation.flip_columns else column
    assert np.argwhere(orientation.apply(stored)).tolist() == [[row, column]]


@pytest.mark.parametrize("orientation", ALL)
def test_a_restored_box_is_the_box_of_the_restored_mask(orientation):
    generator = np.random.default_rng(1)
    for _ in range(20):
        top, left = generator.integers(0, 5), generator.integers(0, 7)
        mask = np.zeros((9, 12), dtype=bool)
        mask[top : top + generator.integers(1, 5), left : left + generator.integers(1, 6)] = True
        restored = orientation.invert_boxes_xyxy(box_of_mask(mask)[None], mask.shape)
        assert restored.dtype == np.float32
        assert np.array_equal(restored[0], box_of_mask(orientation.invert(mask)))


@pytest.mark.parametrize("orientation", ALL)
def test_no_box_stays_no_box(orientation):
    boxes = np.array([[0, 0, 0, 0], [1, 2, 3, 4]], dtype=np.float32)
    restored = orientation.invert_boxes_xyxy(boxes, (9, 12))
    assert not restored[0].any()
    assert restored[1].any()
    assert boxes[1].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("orientation", ALL)
def test_an_orientation_survives_its_journey_as_three_bytes(orientation):
    array = orientation.as_array()
    assert array.dtype == np.uint8
    assert array.shape == (3,)
    assert DisplayOrientation.from_array(array) == orientation


@pytest.mark.parametrize("array", [[0, 1], [0, 1, 2], [[0, 1, 0]], [0, 1, 0, 0], 1])
def test_three_bytes_that_are_no_orientation_are_refused(array):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        DisplayOrientation.from_array(np.array(array))


def test_a_common_axial_slice_is_the_identity():
    assert from_image_orientation([1, 0, 0, 0, 1, 0]) == IDENTITY


def test_a_slice_stored_upside_down_is_flipped_by_rows():
    flipped = from_image_orientation([1, 0, 0, 0, -1, 0])
    assert flipped == DisplayOrientation(transpose=False, flip_rows=True, flip_columns=False)


@pytest.mark.parametrize(
    ("along_row", "along_column"), ["LP", "LA", "RP", "RA", "PL", "PR", "AL", "AR"]
)
def test_every_axial_orientation_ends_with_left_on_the_right_and_posterior_below(
    along_row, along_column
):
    row, column = np.array(AXIS[along_row]), np.array(AXIS[along_column])
    # Each pixel's value is its place in the patient, mm to the left and to the posterior.
    rows, columns = np.mgrid[:4, :6]
    place = columns[..., None] * row + rows[..., None] * column
    orientation = from_image_orientation([*row, *column])
    to_left = orientation.apply(place[..., 0])
    to_posterior = orientation.apply(place[..., 1])
    assert (np.diff(to_left, axis=1) == 1).all()
    assert (np.diff(to_posterior, axis=0) == 1).all()


@pytest.mark.parametrize("degrees", [0, 10, 30, 44])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_tilted_slice_is_still_axial_up_to_45_degrees(degrees, axis):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    cosines = [1, 0, 0, 0, cosine, sine] if axis == "x" else [cosine, 0, sine, 0, 1, 0]
    assert from_image_orientation(cosines) == IDENTITY


@pytest.mark.parametrize(
    ("cosines", "kind"),
    [
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 0, 0.6, 0.8], "coronal"),
        ([0.6, 0, 0.8, 0, 1, 0], "sagittal"),
    ],
)
def test_a_slice_that_is_not_axial_is_refused(cosines, kind):
    with pytest.raises(ImageError, match=f"wanted an axial slice, came a {kind}"):
        from_image_orientation(cosines)


@pytest.mark.parametrize(
    "cosines",
    [
        [],
        [1, 0, 0],
        [0] * 6,
        [float("nan")] * 6,
        [1, 0, 0, 1, 0, 0],
        [2, 0, 0, 0, 2, 0],
        [1, 0, 0, 0.5, 0.5, 0],
        [1e200, 0, 0, 0, 1e200, 0],
    ],
)
def test_numbers_that_are_no_directions_are_refused(cosines):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        from_image_orientation(cosines)


def test_the_normal_stands_at_right_angles_to_the_slice():
    assert slice_normal([1, 0, 0, 0, 1, 0]).tolist() == [0, 0, 1]
    assert slice_normal([1, 0, 0, 0, -1, 0]).tolist() == [0, 0, -1]


@pytest.mark.parametrize("orientation", ALL)
def test_the_inverse_applies_what_the_orientation_inverts(orientation):
    stored = np.arange(6).reshape(2, 3)
    assert np.array_equal(orientation.inverse().apply(orientation.apply(stored)), stored)
    assert orientation.inverse().inverse() == orientation
