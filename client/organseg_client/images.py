"""From whatever a caller holds (a path, bytes, a PIL image, an array) to the image that is sent.

| given | sent | frame of the masks |
|---|---|---|
| PNG, JPEG, DICOM or `.npy` file, or its bytes | the bytes as they are | the file's own |
| PIL image | PNG; `.npy` for more than 8 bits | the image's own |
| array uint8 [H, W]: display grey levels | PNG | the array's own |
| array of other numbers [H, W]: HU or signal | `.npy` | the array's own |
| NIfTI file, DICOM folder or `Scan`, with `slice_index` | `.npy` of the slice | its display frame |

Slices of a volume count from the feet, 0 first. Their display frame has rows down to the
posterior and columns right to the patient's left. They are sent with a window: the caller's, or
that of the whole volume, so that all of its slices look alike. Who asks about many slices opens
the scan once (`open_scan`) and gives the window: else both are done again for each.
"""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from organseg.errors import ImageError, WindowError
from organseg.imaging.decoding import decode_image
from organseg.imaging.encoding import encode_npy, encode_png
from organseg.imaging.limits import MAX_IMAGE_BYTES, check_size_hw
from organseg.imaging.scan import Scan, is_volume_path, open_scan
from organseg.imaging.windowing import check_window
from organseg_client.tensors import WINDOW

__all__ = ["ImageInput", "SentImage", "encode_image", "encode_window"]

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | Scan"
)
"""What a caller may give as an image."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_KINDS = "a path, bytes, a PIL image, a NumPy array or an open scan"


@dataclass(frozen=True)
class SentImage:
    """One image as it is sent."""

    content: bytes = field(repr=False)
    """The encoded image."""
    window: tuple[float, float] | None
    """The intensity window that goes with it, if any."""

    def pixels(self) -> NDArray[np.uint8]:
        """The grey levels that the server sees, uint8 [H, W], in the frame of the masks.

        Raises `ImageError` where it cannot be decoded here (DICOM needs the extra `volumes`).
        """
        decoded = decode_image(self.content, self.window)
        return decoded.orientation.invert(decoded.pixels)


def encode_image(
    image: ImageInput,
    window: Sequence[float] | NDArray[Any] | None = None,
    slice_index: int | None = None,
) -> SentImage:
    """The image to send.

    Raises `ImageError` for what cannot be an image, `WindowError` for a window that is none.
    Files are checked for size, not decoded: that is the server's part.
    """
    low_high = None if window is None else encode_window(window)
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        if is_volume_path(path):
            scan = open_scan(path)
            try:
                return _encode_slice(scan, low_high, slice_index)
            finally:
                scan.close()
        content = _read_file(path)
    elif isinstance(image, (bytes, bytearray, memoryview)):
        content = bytes(image)
    elif isinstance(image, Image.Image):
        content = _encode_picture(image)
    elif isinstance(image, np.ndarray):
        content = _encode_array(image)
    elif isinstance(image, Scan):
        return _encode_slice(image, low_high, slice_index)
    else:
        raise ImageError(f"wanted {_KINDS}, came {type(image).__name__}; give one of these")
    if slice_index is not None:
        raise ImageError(
            "wanted a slice index with a volume only (a NIfTI file or a DICOM folder), came one "
            "with a single image; leave it out"
        )
    _check_length(len(content))
    return SentImage(content, low_high)


def encode_window(window: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """The window (low, high) as the float32 values that are sent.

    Raises `WindowError` unless it is two finite numbers in rising order, also as float32.
    """
    low, high = check_window(window)
    with np.errstate(over="ignore"):
        narrowed = np.array([low, high], dtype=WINDOW.dtype.numpy)
    if not np.isfinite(narrowed).all() or narrowed[0] >= narrowed[1]:
        raise WindowError(
            f"wanted a window that 32-bit numbers can hold, came ({low}, {high}); "
            "widen it, or bring the image's values into an ordinary range"
        )
    return float(narrowed[0]), float(narrowed[1])


def _check_length(length: int) -> None:
    if length == 0:
        raise ImageError("wanted an encoded image, came 0 bytes; check that the file is whole")
    if length > MAX_IMAGE_BYTES:
        raise ImageError(
            f"wanted an encoded image of at most {MAX_IMAGE_BYTES} bytes, came {length}; "
            "crop it, or encode it as PNG"
        )


def _read_file(path: Path) -> bytes:
    # Paths stay out of the messages: file names of scans hold patients' names.
    if not path.exists():
        raise ImageError("wanted an image file, found none at the path given; check the path")
    if not path.is_file():
        raise ImageError("wanted an image file, found something else at the path; check the path")
    try:
        _check_length(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"wanted an image file that can be read, got: {error.strerror}; check its permissions"
        ) from error


def _encode_slice(
    scan: Scan, window: tuple[float, float] | None, slice_index: int | None
) -> SentImage:
    if slice_index is None:
        count = scan.geometry.shape_zhw[0]
        raise ImageError(
            f"wanted one slice, came a volume of {count}; give a slice index from 0 (feet) to "
            f"{count - 1} (head)"
        )
    try:
        index = operator.index(slice_index)
    except TypeError as error:
        raise ImageError(
            f"wanted a slice index as a whole number, came {type(slice_index).__name__}; "
            "count slices from 0 at the feet"
        ) from error
    values = scan.slice_at(index)
    check_size_hw((values.shape[0], values.shape[1]))
    content = encode_npy(values)
    _check_length(len(content))
    return SentImage(content, encode_window(scan.default_window()) if window is None else window)


def _encode_picture(image: Image.Image) -> bytes:
    check_size_hw((image.height, image.width))
    try:
        # Modes I, I;16 and F: numbers rather than grey levels.
        if image.mode[0] in "IF":
            values = np.asarray(image)
        else:
            buffer = io.BytesIO()
            picture = image if image.mode in _PNG_MODES else image.convert("RGB")
            picture.save(buffer, "PNG")
            return buffer.getvalue()
    # A PIL image is read when its pixels are first used; Pillow's plugins raise several kinds.
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            "wanted a PIL image whose pixels can be read, came one that is truncated, damaged or "
            "closed; open the file again"
        ) from error
    return _encode_array(values)


def _encode_array(array: NDArray[Any]) -> bytes:
    if array.dtype.kind not in "iuf":
        raise ImageError(
            f"wanted an array of integers or floats, came dtype {array.dtype}; "
            "convert it with astype(numpy.float32)"
        )
    if array.ndim != 2:
        raise ImageError(
            f"wanted one grey slice [H, W], came an array of {array.ndim} axes; "
            "give one slice at a time, colour as a PIL image"
        )
    check_size_hw((array.shape[0], array.shape[1]))
    if array.dtype == np.uint8:
        return encode_png(array)
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError(
            "wanted finite values, came an array with NaN or infinity (in float32); "
            "replace them, for CT by air (-1024)"
        )
    # Integers of 16 bits stay what they are: half the bytes of float32, and exact.
    return encode_npy(array if array.dtype.itemsize <= 2 else values)
