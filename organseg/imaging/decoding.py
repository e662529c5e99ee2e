"""Encoded bytes to display pixels: PNG, JPEG, single-frame DICOM and `.npy`, told by their bytes.

Anything may arrive here. Size, type and layout are checked from the header before pixels are
decoded, and everything that cannot be used raises `ImageError`.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin

from organseg.errors import ImageError
from organseg.imaging import dicom
from organseg.imaging.limits import (
    MAX_IMAGE_BYTES,
    MAX_JPEG_SCANS,
    check_size_hw,
)
from organseg.imaging.orientation import IDENTITY, DisplayOrientation
from organseg.imaging.windowing import (
    Intensity,
    Modality,
    check_window,
    default_window,
    window_to_uint8,
)

__all__ = ["DecodedImage", "decode_image", "stored_size_hw"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class DecodedImage:
    """One image, ready to be looked at."""

    pixels: NDArray[np.uint8]
    """Grey levels, uint8 [H, W], in display orientation: row down to the posterior, column
    right to the patient's left. Contiguous."""
    orientation: DisplayOrientation
    """The way back to the stored frame."""
    is_blank: bool
    """Whether every pixel has the same grey level: legal, it shows no organ."""
    modality: Modality
    """The scanner, where the file names it (DICOM)."""

    @property
    def display_size_hw(self) -> tuple[int, int]:
        """Height and width in pixels, in display orientation."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class _StoredImage:
    """What a format's reader gives: values in the stored frame, and what they mean."""

    values: NDArray[Any]
    """Real and finite, [H, W]."""
    intensity: Intensity
    """Which window they get by default."""
    orientation: DisplayOrientation = IDENTITY
    """PNG, JPEG and `.npy` say nothing, so they are taken to be in display orientation."""
    modality: Modality = Modality.UNKNOWN
    """The scanner, where the file names it."""
    is_inverted: bool = False
    """Whether high values are shown dark."""


def decode_image(encoded: bytes, window: tuple[float, float] | None = None) -> DecodedImage:
    """The display pixels of one encoded image.

    `encoded` is a PNG, a JPEG, a single-frame DICOM file (with or without its preamble) or a
    `.npy` array [H, W] of HU or signal; colour becomes luminance, transparency black. `window`
    is (low, high) in the file's own values; `organseg.imaging.windowing` says what holds
    without one.

    Raises `ImageError` for bytes that are none of these, broken, or out of the bounds of
    `organseg.imaging.limits`, and `WindowError` for a window that cannot be used.
    """
    low_high = None if window is None else check_window(window)
    if not encoded:
        raise ImageError("wanted an encoded image, came 0 bytes; send PNG, JPEG, DICOM or .npy")
    if len(encoded) > MAX_IMAGE_BYTES:
        raise ImageError(
            f"wanted at most {MAX_IMAGE_BYTES} bytes of encoded image, came {len(encoded)}; "
            "send one slice, or compress it as PNG"
        )
    stored = _read(encoded)
    if low_high is None:
        low_high = default_window(stored.values, stored.intensity)
    grey = stored.values if low_high is None else window_to_uint8(stored.values, low_high)
    if stored.is_inverted:
        grey = 255 - grey
    pixels = np.ascontiguousarray(stored.orientation.apply(grey.astype(np.uint8, copy=False)))
    return DecodedImage(
        pixels=pixels,
        orientation=stored.orientation,
        is_blank=bool(pixels.min() == pixels.max()),
        modality=stored.modality,
    )


def stored_size_hw(encoded: bytes) -> tuple[int, int] | None:
    """Height and width in the stored frame, by the header alone.

    None for DICOM, and for what cannot be decoded either.
    """
    if encoded.startswith(_PNG):
        return _png_size_hw(encoded)
    try:
        if encoded.startswith(_JPEG):
            with JpegImagePlugin.JpegImageFile(io.BytesIO(encoded)) as image:
                return image.height, image.width
        if encoded.startswith(_NPY):
            height, width = _npy_header(io.BytesIO(encoded))[0]
            return height, width
    # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and more.
    except Exception:
        return None
    return None


def _png_size_hw(encoded: bytes) -> tuple[int, int] | None:
    # The size stands in the first chunk.
    if encoded[12:16] != b"IHDR" or len(encoded) < 24:
        return None
    width, height = struct.unpack(">II", encoded[16:24])
    return height, width


def _npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is column-major, dtype; raises whatever numpy does for other bytes."""
    # numpy leaves these functions unannotated.
    npy: Any = np.lib.format
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_header = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }[npy.read_magic(stream)]
        shape, is_fortran, dtype = read_header(stream)
    return shape, is_fortran, dtype


def _read(encoded: bytes) -> _StoredImage:
    if encoded.startswith(_PNG):
        # Pillow looks for pixels before it tells the size.
        size_hw = _png_size_hw(encoded)
        if size_hw is not None:
            check_size_hw(size_hw)
        return _read_picture(encoded, PngImagePlugin.PngImageFile)
    if encoded.startswith(_JPEG):
        if encoded.count(b"\xff\xda") > MAX_JPEG_SCANS:
            raise ImageError(
                f"wanted a JPEG of at most {MAX_JPEG_SCANS} scans, came more; "
                "save it as baseline JPEG or PNG"
            )
        return _read_picture(encoded, JpegImagePlugin.JpegImageFile)
    if encoded.startswith(_NPY):
        return _read_npy(encoded)
    if dicom.looks_like_dicom(encoded):
        return _read_dicom(encoded)
    raise ImageError(
        "wanted a PNG, JPEG, single-frame DICOM or .npy image, came bytes that start as none of "
        "them; convert the image to PNG"
    )


def _read_picture(encoded: bytes, plugin: type[ImageFile.ImageFile]) -> _StoredImage:
    """PNG or JPEG. The plugin is named, not found by `Image.open`, so no other can be reached."""
    name = str(plugin.format)
    try:
        # Pillow warns of harmless metadata.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with plugin(io.BytesIO(encoded)) as image:
                check_size_hw((image.height, image.width))
                if getattr(image, "is_animated", False):
                    raise ImageError(
                        f"wanted one still image, came an animated {name}; send one of its frames"
                    )
                image.load()
                values = _grey(image)
    except ImageError:
        raise
    # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and more.
    except Exception as error:
        raise ImageError(
            f"wanted a whole {name} image, came one that is truncated or damaged; "
            "save it again and send all of it"
        ) from error
    is_display = values.dtype == np.uint8
    return _StoredImage(values, Intensity.DISPLAY if is_display else Intensity.ARBITRARY)


def _grey(image: Image.Image) -> NDArray[Any]:
    """uint8 [H, W], or uint16 for 16-bit grey."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.asarray(image.convert("L"))


def _read_npy(encoded: bytes) -> _StoredImage:
    """The array without `numpy.load`: no pickle, and no allocation beyond the bytes that came."""
    stream = io.BytesIO(encoded)
    try:
        shape, is_fortran, dtype = _npy_header(stream)
    except Exception as error:
        raise ImageError(
            "wanted a .npy header of version 1.0 or 2.0, came one that cannot be parsed; "
            "write the array with numpy.save"
        ) from error
    if dtype.kind not in "iuf":
        raise ImageError(
            f"wanted a .npy array of integers or floats, came dtype kind '{dtype.kind}'; "
            "convert it with astype(numpy.float32)"
        )
    if len(shape) != 2:
        raise ImageError(
            f"wanted a .npy array of one grey slice [H, W], came {len(shape)} axes; "
            "send one slice, colour as PNG"
        )
    check_size_hw(shape)
    bytes_wanted = math.prod(shape) * dtype.itemsize
    bytes_came = len(encoded) - stream.tell()
    if bytes_came < bytes_wanted:
        raise ImageError(
            f"wanted {bytes_wanted} bytes of .npy data as its header declares, came {bytes_came}; "
            "the file is truncated, send all of it"
        )
    values = np.frombuffer(encoded, dtype, math.prod(shape), stream.tell())
    values = values.reshape(shape, order="F" if is_fortran else "C")
    if dtype == np.uint8:
        return _StoredImage(values, Intensity.DISPLAY)
    with np.errstate(all="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError(
            "wanted finite values in the .npy array, came NaN or infinity (in float32); "
            "replace them, for CT by air (-1024)"
        )
    is_hounsfield = bool(values.min() < 0)
    return _StoredImage(values, Intensity.HOUNSFIELD if is_hounsfield else Intensity.ARBITRARY)


def _read_dicom(encoded: bytes) -> _StoredImage:
    dataset = dicom.parse_dicom(encoded)
    dicom.check_image_header(dataset)
    orientation = dicom.display_orientation(dataset)
    decoded = dicom.decode_pixels(dataset)
    return _StoredImage(
        values=decoded.values,
        intensity=decoded.intensity,
        orientation=orientation,
        modality=dicom.modality_of(dataset),
        is_inverted=decoded.is_inverted,
    )
