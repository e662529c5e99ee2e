from __future__ import annotations

import numpy as np
import pytest
from imaging_scans import SCANS, needs_scans

from organseg.imaging.decoding import decode_image
from organseg.imaging.resizing import model_pixels, resize_cubic
from organseg.imaging.volumes import read_nifti
from organseg.imaging.windowing import window_to_uint8


def _ellipses(height: int, width: int) -> np.ndarray:
    """A body-like slice: soft-tissue ellipses with sharp edges on a black ground."""
    rows, columns = np.mgrid[:height, :width]
    y, x = rows / height * 2 - 1, columns / width * 2 - 1
    grey = np.where(x**2 / 0.8 + y**2 / 0.6 < 1, 90, 0)
    grey[(x + 0.4) ** 2 / 0.1 + y**2 / 0.15 < 1] = 150
    grey[(x - 0.3) ** 2 / 0.02 + (y - 0.2) ** 2 / 0.03 < 1] = 190
    return grey.astype(np.uint8)


def _difference_from_spline(pixels: np.ndarray, size: int) -> np.ndarray:
    transform = pytest.importorskip("skimage.transform")
    # MedSAM's own call, in its pre-processing of CT and MR.
    spline = transform.resize(
        pixels, (size, size), order=3, preserve_range=True, mode="constant", anti_aliasing=True
    )
    return np.abs(resize_cubic(pixels, (size, size)).astype(np.float64) - np.clip(spline, 0, 255))


def test_the_aspect_ratio_is_not_kept_and_nothing_is_padded():
    pixels = np.full((40, 80), 200, dtype=np.uint8)
    assert (resize_cubic(pixels, (64, 64)) == 200).all()


def test_resizing_to_the_same_size_changes_nothing_and_gives_a_copy():
    pixels = _ellipses(50, 60)
    same = resize_cubic(pixels, (50, 60))
    assert np.array_equal(same, pixels)
    assert not np.shares_memory(same, pixels)


def test_a_view_with_flipped_axes_is_resized_as_what_it_shows():
    pixels = _ellipses(50, 60)
    flipped = resize_cubic(pixels[::-1, ::-1], (32, 32))
    assert np.array_equal(flipped, resize_cubic(np.ascontiguousarray(pixels[::-1, ::-1]), (32, 32)))


def test_model_pixels_are_square_and_fill_the_range():
    pixels = (_ellipses(101, 122) // 2 + 30).astype(np.uint8)
    square = model_pixels(pixels, 64)
    assert square.shape == (64, 64)
    assert square.dtype == np.uint8
    assert (square.min(), square.max()) == (0, 255)


def test_min_max_follows_the_resize_as_in_medsam():
    # One bright pixel that shrinking averages away: min-max before the resize would keep the
    # rest dark.
    pixels = _ellipses(256, 256) // 4
    pixels[0, 0] = 255
    assert model_pixels(pixels, 32).max() == 255
    assert np.median(model_pixels(pixels, 32)[12:20, 12:20]) > 100


def test_model_pixels_of_a_constant_image_are_black():
    assert not model_pixels(np.full((30, 40), 77, dtype=np.uint8), 64).any()


def test_the_cubic_is_close_to_medsams_spline_on_a_drawn_slice():
    difference = _difference_from_spline(_ellipses(128, 160), 512)
    # Both are exact on flat ground; a step of 60 to 90 grey levels rings differently. One grey
    # level on average is below the noise of a CT (10 HU is 6 grey levels of the window).
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) < 12.0


@needs_scans
def test_the_cubic_is_close_to_medsams_spline_on_real_slices():
    ct = decode_image((SCANS / "ts_dicom" / "dicom" / "IM0005.dcm").read_bytes()).pixels
    difference = _difference_from_spline(ct, 1024)
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99) < 5.0

    coarse = read_nifti(SCANS / "ts_ct" / "image.nii.gz")
    pixels = window_to_uint8(coarse.slice_at(60), coarse.default_window())
    difference = _difference_from_spline(pixels, 1024)
    assert difference.mean() < 2.0
    assert np.percentile(difference, 99) < 10.0
