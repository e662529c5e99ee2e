"""Pictures that differ from each other at almost no cost: one encoding, another mark each.

Whoever keeps what was computed for an image must be asked about images that differ, thousands of
them, and encoding each as a PNG would cost the machine more than asking. So a picture is packed
once, all rows but the last few, and the last ones, which hold a bar code of the image's number,
are packed for each image and put behind: a PNG like any other.

Source: PNG (ISO/IEC 15948) 10.1, one zlib stream over all rows, which may be cut into blocks that
do not refer to each other (`Z_FULL_FLUSH`); both check sums run on over the parts.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x9c"
_GREY, _FILTER_NONE, _FILTER_UP = 0, 0, 2
_BARS = 32
_BAND_SHARE = 64
"""Each of the two bands of bars is this part of the picture high: bars survive its scaling."""


class MarkedPicture:
    """A grey picture, uint8 [H, W], as PNGs with a number in its last rows.

    Raises `ImageError` for a picture too small to hold the number: under 64 pixels a side.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        height, width = pixels.shape
        if min(height, width) < 2 * _BARS:
            raise ImageError(
                f"wanted a picture of {2 * _BARS} x {2 * _BARS} pixels or more to mark it, got "
                f"{width} x {height}: name larger ones with --images"
            )
        self._width = width
        self._band = height // _BAND_SHARE
        upper = pixels[: height - 2 * self._band]
        raw = _rows(np.diff(upper, axis=0, prepend=np.uint8(0)), _FILTER_UP)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = _ZLIB_HEADER + packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)
        header = struct.pack(">IIBBBBB", width, height, 8, _GREY, 0, 0, 0)
        self._head = _SIGNATURE + _chunk(b"IHDR", header)
        self._upper = b"IDAT" + packed
        self._check = zlib.crc32(self._upper)
        self._sum = zlib.adler32(raw)
        self._end = _chunk(b"IEND", b"")

    def png(self, number: int) -> bytes:
        """The picture with this number, from 0 to 2^64 - 1: another one for every number."""
        bits = np.unpackbits(np.frombuffer(struct.pack(">Q", number), np.uint8)) * np.uint8(255)
        columns = np.arange(self._width) * _BARS // self._width
        bands = bits.reshape(2, _BARS)[:, columns].repeat(self._band, axis=0)
        raw = _rows(bands, _FILTER_NONE)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        lower = packer.compress(raw) + packer.flush(zlib.Z_FINISH)
        lower += struct.pack(">I", zlib.adler32(raw, self._sum))
        return b"".join(
            (
                self._head,
                struct.pack(">I", len(self._upper) - len(b"IDAT") + len(lower)),
                self._upper,
                lower,
                struct.pack(">I", zlib.crc32(lower, self._check)),
                self._end,
            )
        )


def _rows(values: NDArray[np.uint8], row_filter: int) -> bytes:
    return np.pad(values, ((0, 0), (1, 0)), constant_values=row_filter).tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
