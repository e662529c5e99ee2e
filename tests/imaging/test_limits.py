from __future__ import annotations

import pytest

from organseg.errors import ImageError
from organseg.imaging.limits import (
    MAX_IMAGE_BYTES,
    MAX_SIDE_PIXELS,
    MIN_SIDE_PIXELS,
    check_size_hw,
)


def test_the_bounds_themselves_are_allowed():
    check_size_hw((MIN_SIDE_PIXELS, MAX_SIDE_PIXELS))
    check_size_hw((MAX_SIDE_PIXELS, MIN_SIDE_PIXELS))


@pytest.mark.parametrize(
    "size_hw",
    [(MIN_SIDE_PIXELS - 1, 100), (100, MIN_SIDE_PIXELS - 1), (MAX_SIDE_PIXELS + 1, 100), (100, -1)],
)
def test_a_side_out_of_bounds_is_refused_with_both_sides_named(size_hw):
    with pytest.raises(ImageError, match=f"came {size_hw[0]} rows x {size_hw[1]} columns"):
        check_size_hw(size_hw)


def test_the_greatest_image_fits_the_bytes_as_16_bit_with_its_header():
    assert MAX_SIDE_PIXELS**2 * 2 + 1024 < MAX_IMAGE_BYTES
