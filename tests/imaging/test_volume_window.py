"""The window of a whole volume from its slices: exactly that of all its voxels at once."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.imaging.volume_window import volume_window
from organseg.imaging.windowing import CT_WINDOW_HU, Modality, percentile_window


def _window(values: np.ndarray, modality: Modality = Modality.MR) -> tuple[float, float]:
    return volume_window(modality, lambda: iter(values))


def _signal(dtype: type, seed: int, size: int = 31) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.gamma(2.0, 150.0, (7, size, size)) - 40).astype(dtype)


@pytest.mark.parametrize("seed", range(5))
def test_whole_numbers_give_the_very_percentiles_of_the_volume(seed):
    values = _signal(np.int16, seed, size=17 + seed)
    assert _window(values) == percentile_window(values)


@pytest.mark.parametrize("seed", range(5))
def test_floats_give_the_very_order_statistics_of_the_volume(seed):
    values = _signal(np.float32, seed, size=17 + seed)
    # NumPy interpolates between neighbours in float64 as well, from the same float32 values.
    assert _window(values) == pytest.approx(percentile_window(values), rel=1e-7)


def test_slices_of_both_types_may_come_mixed():
    values = _signal(np.float32, 3)
    mixed = [values[0], *np.rint(values[1:]).astype(np.int16)]
    whole = np.stack([np.asarray(one, dtype=np.float32) for one in mixed])
    assert volume_window(Modality.MR, lambda: iter(mixed)) == pytest.approx(
        percentile_window(whole), rel=1e-7
    )


def test_tiny_and_huge_floats_are_told_apart():
    values = np.geomspace(1e-40, 1e38, 5000, dtype=np.float32).reshape(5, 25, 40)
    assert _window(values) == pytest.approx(percentile_window(values), rel=1e-6)


def test_ct_is_not_read_at_all_and_air_ends_the_reading_early():
    def never():
        raise AssertionError("read")

    assert volume_window(Modality.CT, never) == CT_WINDOW_HU

    def air_then_failure():
        yield np.full((4, 4), -1000, dtype=np.int16)
        raise AssertionError("read on")

    assert volume_window(Modality.UNKNOWN, air_then_failure) == CT_WINDOW_HU


def test_whole_numbers_are_read_once_and_floats_three_times():
    for dtype, passes in ((np.int16, 1), (np.float32, 3)):
        calls = []

        def slices(dtype=dtype, calls=calls):
            calls.append(1)
            return iter(_signal(dtype, 1))

        volume_window(Modality.MR, slices)
        assert len(calls) == passes


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((3, 4, 4), np.int16),
        np.full((3, 4, 4), -7, np.int16),
        np.full((3, 4, 4), 0.25, np.float32),
        np.eye(4, dtype=np.int16)[None],
        np.array([[[-3, -2], [0, 0]]], np.int16),
    ],
)
def test_blank_negative_and_binary_volumes_have_a_window_too(values):
    low, high = _window(values)
    assert low < high
    assert (low, high) == percentile_window(values)
