from __future__ import annotations

import numpy as np
import pytest

from organseg.errors import WindowError
from organseg.imaging.windowing import (
    CT_WINDOW_HU,
    Intensity,
    Modality,
    check_window,
    default_window,
    percentile_window,
    scale_to_full_range,
    window_to_uint8,
)


def test_the_ct_window_is_medsams():
    assert CT_WINDOW_HU == (-160.0, 240.0)


def test_a_window_maps_low_to_black_high_to_white_and_clips_beyond():
    values = np.array([[-3000, -160, 40, 240, 3000]], dtype=np.int16)
    assert window_to_uint8(values, CT_WINDOW_HU).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.float16, ">i2"])
def test_windowing_gives_the_same_grey_levels_for_every_dtype(dtype):
    values = np.arange(0, 101, 10).astype(dtype)
    grey = window_to_uint8(values, (0, 102))
    assert grey.dtype == np.uint8
    assert grey.tolist() == list(range(0, 251, 25))


@pytest.mark.parametrize(
    "window", [(1e300, 1.1e300), (0.0, 5e-324), (-1e307, 1e307), (0.0, 1e-30), (-1e-30, 1e9)]
)
def test_extreme_windows_neither_overflow_nor_divide_by_zero(window):
    values = np.array([-3e38, -1.0, 0.0, 1e-38, 1.0, 3e38], dtype=np.float32)
    grey = window_to_uint8(values, window)
    assert (np.diff(grey.astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "window",
    [
        (240, -160),
        (40, 40),
        (float("nan"), 1),
        (0, float("inf")),
        (float("-inf"), 0),
        (-1.7e308, 1.7e308),
        (1,),
        (1, 2, 3),
        (),
        ("low", "high"),
        (None, 1),
        5,
        np.zeros((2, 2)),
    ],
)
def test_a_window_that_is_not_two_rising_finite_numbers_is_refused(window):
    with pytest.raises(WindowError, match=r"^wanted .+, came .+; .+"):
        check_window(window)


def test_a_window_may_come_as_an_array():
    assert check_window(np.array([-160, 240], dtype=np.float32)) == (-160.0, 240.0)


def test_the_percentile_window_leaves_out_background_and_extremes():
    values = np.concatenate([np.zeros(10_000), np.arange(1, 1001), [1e6]])
    low, high = percentile_window(values)
    positive = values[values > 0]
    assert low == np.percentile(positive, 0.5)
    assert high == np.percentile(positive, 99.5)
    assert 1 < low < 10
    assert 990 < high < 1000


@pytest.mark.parametrize(
    ("values", "grey"),
    [
        ([0, 0, 7, 7], [0, 0, 255, 255]),
        ([-5, -3], [0, 255]),
        ([0, 0], [0, 0]),
        ([9, 9], [0, 0]),
        ([3e38, 3e38], [0, 0]),
    ],
)
def test_the_percentile_window_of_few_values_still_rises(values, grey):
    array = np.array(values, dtype=np.float32)
    low, high = percentile_window(array)
    assert low < high
    assert window_to_uint8(array, (low, high)).tolist() == grey


def test_each_meaning_of_the_values_has_its_own_default():
    values = np.arange(1.0, 500.0)
    assert default_window(values, Intensity.DISPLAY) is None
    assert default_window(values, Intensity.HOUNSFIELD) == CT_WINDOW_HU
    assert default_window(values, Intensity.ARBITRARY) == percentile_window(values)


def test_full_range_stretches_the_darkest_to_0_and_the_brightest_to_255():
    pixels = np.array([[50, 100], [150, 60]], dtype=np.uint8)
    assert scale_to_full_range(pixels).tolist() == [[0, 128], [255, 26]]


@pytest.mark.parametrize("level", [0, 7, 255])
def test_full_range_of_a_constant_image_is_black(level):
    assert not scale_to_full_range(np.full((9, 9), level, dtype=np.uint8)).any()


def test_full_range_of_a_full_range_image_changes_nothing():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(scale_to_full_range(pixels), pixels)


def test_a_modality_compares_equal_to_its_text():
    assert Modality.CT == "CT"
    assert Modality("MR") is Modality.MR
