from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hostile.images import picture
from organseg.errors import ImageError
from organseg.imaging.encoding import encode_npy, encode_png


@pytest.mark.parametrize("dtype", ["i2", "u1", "f4", "f8", ">i2"])
def test_npy_bytes_hold_the_array_exactly(dtype):
    array = (np.arange(120).reshape(10, 12) - 5 * (dtype != "u1")).astype(dtype)
    read = np.load(io.BytesIO(encode_npy(array)), allow_pickle=False)
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


def test_a_strided_view_is_encoded_as_what_it_shows():
    view = np.arange(400, dtype=np.int16).reshape(20, 20)[::-2, ::2]
    assert np.array_equal(np.load(io.BytesIO(encode_npy(view))), view)


def test_png_bytes_hold_the_pixels_exactly():
    pixels = picture()[::-1, ::-1]
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 9, 9)), np.zeros((9, 9), dtype=object), np.zeros((9, 9), dtype=complex)]
)
def test_npy_refuses_what_is_no_grey_slice(array):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        encode_npy(array)


@pytest.mark.parametrize("array", [np.zeros((9, 9)), np.zeros((9, 9, 3), dtype=np.uint8)])
def test_png_refuses_what_is_no_grey_levels(array):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        encode_png(array)
