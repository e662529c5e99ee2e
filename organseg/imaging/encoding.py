"""Arrays to the encoded bytes that a request carries."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from organseg.errors import ImageError

__all__ = ["encode_npy", "encode_png", "encode_sample"]

_SAMPLE_SIDE = 64


def encode_npy(array: NDArray[Any]) -> bytes:
    """One slice of HU or signal, [H, W] integers or floats, as the bytes of a `.npy` file.

    Raises `ImageError` for another dtype or number of axes.
    """
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ImageError(
            "wanted a slice [H, W] of integers or floats, "
            f"came {array.ndim} axes of dtype {array.dtype}; send one grey slice"
        )
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Display grey levels, uint8 [H, W], as the bytes of a PNG; lossless.

    Raises `ImageError` for another dtype or number of axes.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ImageError(
            f"wanted grey levels uint8 [H, W], came {pixels.ndim} axes of dtype {pixels.dtype}; "
            "window the values first (organseg.imaging.windowing)"
        )
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


def encode_sample() -> bytes:
    """A small grey ramp under fresh noise as PNG, for where any image will do.

    It is not constant, so that no stage takes its way round blank images; and it is another one
    each time, so that no server answers from what it kept of the last.
    """
    side = np.arange(_SAMPLE_SIDE)
    noise = np.random.default_rng().integers(0, 128, (_SAMPLE_SIDE, _SAMPLE_SIDE))
    return encode_png((np.add.outer(side, side) + noise).astype(np.uint8))
