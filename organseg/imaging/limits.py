"""The bounds on what a request or a scan may bring, each with its reason.

They are checked on headers, before anything is decoded, so that a small hostile file cannot
make the server allocate or compute much.
"""

from __future__ import annotations

from organseg.contract.limits import MAX_IMAGE_BYTES, MAX_QUERY_BYTES, MAX_SIDE, MIN_SIDE
from organseg.errors import ImageError

__all__ = [
    "MAX_IMAGE_BYTES",
    "MAX_JPEG_SCANS",
    "MAX_QUERY_BYTES",
    "MAX_SERIES_FILES",
    "MAX_SIDE_PIXELS",
    "MAX_VOLUME_VOXELS",
    "MIN_SIDE_PIXELS",
    "check_size_hw",
]

MAX_SIDE_PIXELS = MAX_SIDE
"""Longest row or column of one image, as the contract's `MASKS` has it. CT and MR are 512 to
1024, radiographs up to about 4000."""

MIN_SIDE_PIXELS = MIN_SIDE
"""Shortest row or column. Below it no organ could be told from its neighbour."""

MAX_JPEG_SCANS = 100
"""Scans of one progressive JPEG. Encoders write about ten; each costs a pass over all pixels."""

MAX_VOLUME_VOXELS = 2**29
"""Voxels of one scan (512 x 512 x 2048): 1 GiB as int16, the largest whole-body CT in use."""

MAX_SERIES_FILES = 4096
"""Files in one DICOM folder: more is a whole archive rather than a series."""


def check_size_hw(size_hw: tuple[int, int]) -> None:
    """Raises `ImageError` unless height and width (pixels) lie within the bounds."""
    height, width = size_hw
    if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS for side in size_hw):
        raise ImageError(
            f"wanted an image of {MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS} pixels a side, "
            f"came {height} rows x {width} columns; resample or crop it first"
        )
