from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hostile.images import encode, npy, picture
from organseg.errors import ImageError, WindowError
from organseg.imaging.decoding import decode_image, stored_size_hw
from organseg.imaging.orientation import IDENTITY
from organseg.imaging.windowing import (
    CT_WINDOW_HU,
    Modality,
    percentile_window,
    window_to_uint8,
)


def _hounsfield() -> np.ndarray:
    return np.linspace(-1000, 1500, 40 * 56).reshape(40, 56).astype(np.int16)


def test_an_8_bit_png_is_taken_as_it_is():
    decoded = decode_image(encode(Image.fromarray(picture()), "PNG"))
    assert decoded.pixels.dtype == np.uint8
    assert np.array_equal(decoded.pixels, picture())
    assert decoded.orientation == IDENTITY
    assert decoded.modality is Modality.UNKNOWN
    assert decoded.display_size_hw == (40, 56)
    assert not decoded.is_blank


def test_a_jpeg_is_taken_as_it_is():
    encoded = encode(Image.fromarray(picture()), "JPEG", quality=95)
    with Image.open(io.BytesIO(encoded)) as image:
        assert np.array_equal(decode_image(encoded).pixels, np.asarray(image))


def test_a_progressive_jpeg_is_read():
    encoded = encode(Image.fromarray(picture()), "JPEG", quality=95, progressive=True)
    assert np.abs(decode_image(encoded).pixels.astype(int) - picture()).mean() < 3


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_colour_becomes_luminance(file_format):
    color = Image.new("RGB", (16, 16), (200, 30, 90))
    encoded = encode(color, file_format)
    luminance = 0.299 * 200 + 0.587 * 30 + 0.114 * 90
    assert np.abs(decode_image(encoded).pixels - luminance).max() <= 2


def test_a_grey_picture_saved_as_palette_or_rgb_looks_the_same():
    grey = Image.fromarray(picture())
    for mode in ("RGB", "P", "RGBA", "LA"):
        assert np.array_equal(decode_image(encode(grey.convert(mode), "PNG")).pixels, picture())


def test_transparency_becomes_black():
    image = Image.fromarray(np.dstack([picture()] * 3 + [np.full((40, 56), 255, np.uint8)]))
    image.putpixel((5, 30), (255, 255, 255, 0))
    decoded = decode_image(encode(image, "PNG"))
    assert decoded.pixels[30, 5] == 0
    assert decoded.pixels[31, 5] == picture()[31, 5]


def test_a_one_bit_png_is_black_and_white():
    decoded = decode_image(encode(Image.fromarray(picture() > 90), "PNG"))
    assert np.array_equal(decoded.pixels, np.where(picture() > 90, 255, 0))


def test_a_16_bit_png_gets_the_percentile_window():
    values = (picture().astype(np.uint16) * 200) + 5
    decoded = decode_image(encode(Image.fromarray(values), "PNG"))
    assert np.array_equal(decoded.pixels, window_to_uint8(values, percentile_window(values)))


def test_an_array_with_negative_values_gets_the_ct_window():
    values = _hounsfield()
    decoded = decode_image(npy(values))
    assert np.array_equal(decoded.pixels, window_to_uint8(values, CT_WINDOW_HU))


def test_an_array_without_negative_values_gets_the_percentile_window():
    values = np.abs(_hounsfield())
    decoded = decode_image(npy(values))
    assert np.array_equal(decoded.pixels, window_to_uint8(values, percentile_window(values)))


def test_a_uint8_array_is_taken_as_it_is():
    assert np.array_equal(decode_image(npy(picture())).pixels, picture())


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", "<i8", "<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_decodes_alike_whatever_its_dtype_and_memory_order(dtype, order):
    values = np.rint(_hounsfield() / 4).astype(np.int16)
    encoded = npy(np.asarray(values.astype(dtype), order=order))
    assert np.array_equal(decode_image(encoded).pixels, decode_image(npy(values)).pixels)


def test_a_version_2_npy_is_read():
    stream = io.BytesIO()
    np.lib.format.write_array(stream, _hounsfield(), version=(2, 0))
    assert np.array_equal(
        decode_image(stream.getvalue()).pixels, decode_image(npy(_hounsfield())).pixels
    )


@pytest.mark.parametrize(
    "encoded",
    [
        encode(Image.fromarray(picture()), "PNG"),
        encode(Image.fromarray(picture().astype(np.uint16)), "PNG"),
        npy(picture()),
        npy(picture().astype(np.float32)),
    ],
    ids=["png", "16-bit png", "uint8 npy", "float npy"],
)
def test_a_window_holds_for_every_format(encoded):
    expected = window_to_uint8(picture(), (50, 120))
    assert np.array_equal(decode_image(encoded, window=(50, 120)).pixels, expected)


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (float("nan"), 1), (0, float("inf"))])
def test_a_bad_window_is_refused_before_the_image_is_looked_at(window):
    with pytest.raises(WindowError, match=r"^wanted .+, came .+; .+"):
        decode_image(b"no image at all", window=window)


@pytest.mark.parametrize("level", [0, 17, 255])
def test_a_constant_image_is_legal_and_blank(level):
    pixels = np.full((16, 16), level, dtype=np.uint8)
    decoded = decode_image(encode(Image.fromarray(pixels), "PNG"))
    assert decoded.is_blank
    assert (decoded.pixels == level).all()


@pytest.mark.parametrize("value", [-1000.0, 0.0, 3.5, 1e30])
def test_a_constant_array_is_legal_and_blank(value):
    assert decode_image(npy(np.full((16, 16), value, dtype=np.float32))).is_blank


def test_a_slice_that_its_window_makes_constant_is_blank():
    assert decode_image(npy(_hounsfield()), window=(5000, 6000)).is_blank


def test_the_smallest_and_the_greatest_side_are_read():
    strip = Image.new("L", (4096, 8))
    assert decode_image(encode(strip, "PNG")).display_size_hw == (8, 4096)


def test_pixels_are_contiguous_and_owned():
    encoded = npy(np.asfortranarray(picture()))
    pixels = decode_image(encoded).pixels
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, picture())


def _mutations(encoded: bytes, count: int) -> list[bytes]:
    generator = np.random.default_rng(len(encoded))
    mutated = []
    for _ in range(count):
        damaged = bytearray(encoded)
        for place in generator.integers(0, min(len(damaged), 2000), generator.integers(1, 6)):
            damaged[place] = generator.integers(0, 256)
        mutated.append(bytes(damaged))
        mutated.append(encoded[: generator.integers(0, len(encoded))])
    return mutated


@pytest.mark.parametrize(
    "encoded",
    [
        encode(Image.fromarray(picture()), "PNG"),
        encode(Image.fromarray(picture()), "JPEG"),
        npy(_hounsfield()),
    ],
    ids=["png", "jpeg", "npy"],
)
def test_damaged_bytes_give_an_image_or_an_image_error_and_nothing_else(encoded):
    outcomes = set()
    for damaged in _mutations(encoded, 150):
        try:
            assert decode_image(damaged).pixels.ndim == 2
            outcomes.add("image")
        except ImageError:
            outcomes.add("error")
    assert "error" in outcomes


def test_the_header_alone_tells_the_size_of_what_can_be_decoded():
    image = Image.fromarray(np.zeros((40, 56), dtype=np.uint8))
    for encoded in (encode(image, "PNG"), encode(image, "JPEG"), npy(_hounsfield())):
        assert stored_size_hw(encoded) == (40, 56)
        # The pixels may be missing.
        assert stored_size_hw(encoded[: len(encoded) - 10]) == (40, 56)


@pytest.mark.parametrize(
    "encoded", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x93NUMPY\x01\x00", b"DICM" * 50]
)
def test_what_tells_no_size_is_of_unknown_size(encoded):
    assert stored_size_hw(encoded) is None


def test_an_array_of_three_axes_is_of_unknown_size():
    assert stored_size_hw(npy(np.zeros((2, 9, 9)))) is None
