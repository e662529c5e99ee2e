"""One DICOM image: its header checked, its pixels as HU, MR signal or luminance.

Whatever the bytes are, the size is known from the header, and that of a compressed frame from
the frame itself, before a pixel is decoded. Needs pydicom (and pylibjpeg-openjpeg for JPEG 2000),
both in the extra `volumes`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, Jpeg2KImagePlugin, JpegImagePlugin

from organseg.errors import ImageError
from organseg.imaging.limits import MAX_JPEG_SCANS, check_size_hw
from organseg.imaging.orientation import IDENTITY, DisplayOrientation, from_image_orientation
from organseg.imaging.windowing import Intensity, Modality

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = [
    "DicomPixels",
    "check_image_header",
    "decode_pixels",
    "display_orientation",
    "looks_like_dicom",
    "modality_of",
    "parse_dicom",
    "quiet_pydicom",
]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_RLE = "1.2.840.10008.1.2.5"
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
_JPEG_2000_CODESTREAM = b"\xff\x4f\xff\x51"
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_HEADER_KEYWORDS = (
    "BitsAllocated",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelSpacing",
    "RescaleIntercept",
    "Rows",
    "SamplesPerPixel",
    "SeriesInstanceUID",
)
_REMEDY = "convert it to an uncompressed single-frame DICOM (dcmdjpeg, gdcmconv --raw)"


@dataclass(frozen=True)
class DicomPixels:
    """The decoded pixels of one DICOM image, in its stored frame."""

    values: NDArray[Any]
    """float32 [H, W] of HU or signal; uint8 [H, W] of luminance for a colour image."""
    intensity: Intensity
    """What the values mean."""
    is_inverted: bool
    """Whether high values are meant to be shown dark (MONOCHROME1); never for HU."""


def looks_like_dicom(encoded: bytes) -> bool:
    """Whether the bytes start as DICOM does: after a preamble, or with a header group at once."""
    return encoded[128:132] == b"DICM" or encoded[:4] in (
        b"\x02\x00\x00\x00",  # file meta group without a preamble
        b"\x08\x00\x00\x00",
        b"\x08\x00\x05\x00",  # no file meta at all: SpecificCharacterSet,
        b"\x08\x00\x08\x00",  # or ImageType
        b"\x08\x00\x16\x00",  # or SOPClassUID
    )


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silences pydicom: its warnings quote header values, which may be patient data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_dicom(encoded: bytes) -> FileDataset:
    """The header of a DICOM file, pixels still encoded, given its bytes.

    Raises `ImageError` where it cannot be parsed, or where pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ImageError(
            "wanted pydicom to read a DICOM file, came an installation without it; "
            "pip install 'organseg[volumes]', or send a PNG"
        ) from error
    # pydicom inflates such a file whole while it parses, without a bound.
    if _DEFLATED.encode() in encoded:
        raise ImageError(f"wanted a DICOM image that is not deflated, came one; {_REMEDY}")
    try:
        with quiet_pydicom():
            dataset = pydicom.dcmread(io.BytesIO(encoded), force=True)
            # Elements are converted when first read: do it here, where failing is foreseen.
            for keyword in _HEADER_KEYWORDS:
                dataset.get(keyword)
    # pydicom raises whatever a broken file leads it into, RecursionError included.
    except Exception as error:
        raise ImageError(
            "wanted a DICOM file, came one whose header cannot be parsed; "
            "check that the file is whole and send it again"
        ) from error
    return dataset


def check_image_header(dataset: FileDataset) -> tuple[int, int]:
    """The size (rows, columns) of a classic single-frame image, read from its header alone.

    Raises `ImageError` for anything else: no pixels, several frames, an object that is not an
    image (a segmentation, a report), a size out of bounds, an unknown pixel layout.
    """
    if "PixelData" not in dataset:
        raise ImageError(
            "wanted a DICOM image, came a DICOM object without pixel data; send an image"
        )
    frames = _integer(dataset, "NumberOfFrames", default=1)
    if frames != 1:
        raise ImageError(
            f"wanted a single-frame DICOM image, came {frames} frames; "
            "split it into single frames and send one"
        )
    if "SharedFunctionalGroupsSequence" in dataset or dataset.get("Modality") == "SEG":
        raise ImageError(
            "wanted a classic DICOM image, came an enhanced or segmentation object; "
            "convert it to classic single-frame images"
        )
    size_hw = (_integer(dataset, "Rows"), _integer(dataset, "Columns"))
    check_size_hw(size_hw)
    samples = _integer(dataset, "SamplesPerPixel", default=1)
    bits = _integer(dataset, "BitsAllocated")
    if (samples, bits) not in ((1, 8), (1, 16), (1, 32), (3, 8)):
        raise ImageError(
            "wanted 8, 16 or 32 bits of grey or 8 bits of colour a sample, "
            f"came {samples} samples of {bits} bits; convert the image"
        )
    return size_hw


def modality_of(dataset: FileDataset) -> Modality:
    """CT, MR, or unknown for every other kind."""
    modality = str(dataset.get("Modality", "")).strip().upper()
    return Modality(modality) if modality in ("CT", "MR") else Modality.UNKNOWN


def display_orientation(dataset: FileDataset) -> DisplayOrientation:
    """How this image becomes a display slice.

    An image that says nothing (a screenshot) is taken as it is. Raises `ImageError` for a slice
    that is not axial.
    """
    directions = dataset.get("ImageOrientationPatient")
    if not directions:
        return IDENTITY
    try:
        cosines = [float(value) for value in directions]
    except (TypeError, ValueError) as error:
        raise ImageError(
            "wanted six direction cosines (ImageOrientationPatient), came something that is not "
            "numbers; repair the DICOM header"
        ) from error
    return from_image_orientation(cosines)


def decode_pixels(dataset: FileDataset) -> DicomPixels:
    """The pixels of a header that `check_image_header` accepted, in the stored frame.

    RescaleSlope and RescaleIntercept (or the modality table) are applied; colour and palette
    become luminance. Raises `ImageError` where the pixel data is truncated, compressed in a way
    that is not read here, disagrees with the header, or is not finite.
    """
    size_hw = check_image_header(dataset)
    _check_transfer_syntax(dataset, size_hw)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        with quiet_pydicom():
            values = _luminance_or_values(dataset, photometric)
    except Exception as error:
        raise ImageError(
            "wanted DICOM pixel data as its header declares, came data that cannot be decoded "
            f"(truncated, or a compression without a decoder here); {_REMEDY}"
        ) from error
    if values.shape != size_hw or not np.isfinite(values).all():
        raise ImageError(
            f"wanted {size_hw[0]} x {size_hw[1]} finite pixel values, came shape {values.shape} "
            "or values that are not finite; repair the file"
        )
    if photometric not in _MONOCHROME:
        return DicomPixels(values, Intensity.DISPLAY, is_inverted=False)
    # A CT image without the rescale is a derived picture, not HU.
    if modality_of(dataset) is Modality.CT and "RescaleIntercept" in dataset:
        return DicomPixels(values, Intensity.HOUNSFIELD, is_inverted=False)
    return DicomPixels(values, Intensity.ARBITRARY, is_inverted=photometric == "MONOCHROME1")


def _luminance_or_values(dataset: FileDataset, photometric: str) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(dataset)
    if photometric in _MONOCHROME:
        with np.errstate(over="ignore"):
            return np.asarray(apply_modality_lut(stored, dataset)).astype(np.float32)
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        if stored.dtype == np.uint16:
            stored = stored >> 8
    rgb = np.ascontiguousarray(stored[..., :3].astype(np.uint8))
    return np.asarray(Image.fromarray(rgb).convert("L"))


def _check_transfer_syntax(dataset: FileDataset, size_hw: tuple[int, int]) -> None:
    """Refuses what is not read here, and compressed frames that do not match their header."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import get_frame
    from pydicom.uid import UID

    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        # A file without a preamble: pydicom has worked out which of the three it is.
        is_implicit, is_little = dataset.original_encoding
        index = 0 if is_implicit else (1 if is_little else 2)
        dataset.file_meta.TransferSyntaxUID = UID(_UNCOMPRESSED[index])
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _UNCOMPRESSED:
        return
    if syntax not in (_RLE, *_JPEG, *_JPEG_2000):
        raise ImageError(
            "wanted DICOM pixel data uncompressed or as JPEG baseline, JPEG 2000 or RLE, "
            f"came another transfer syntax ({syntax.name}); {_REMEDY}"
        )
    samples = _integer(dataset, "SamplesPerPixel", default=1)
    try:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax == _RLE:
            bytes_wanted = size_hw[0] * size_hw[1] * samples * (dataset.BitsAllocated // 8)
            matches = _rle_bytes(frame, limit=2 * bytes_wanted) <= 2 * bytes_wanted
        else:
            matches = _picture_matches(frame, syntax in _JPEG, samples, size_hw)
    except Exception as error:
        raise ImageError(
            "wanted one compressed frame of DICOM pixel data, came data that is "
            "truncated or damaged; check that the file is whole and send it again"
        ) from error
    if not matches:
        raise ImageError(
            "wanted a compressed frame of the size that the DICOM header declares, came another; "
            "repair the file"
        )


def _picture_matches(frame: bytes, is_jpeg: bool, samples: int, size_hw: tuple[int, int]) -> bool:
    """Whether a JPEG or JPEG 2000 frame declares the size that its DICOM header does."""
    if is_jpeg:
        if frame.count(b"\xff\xda") > MAX_JPEG_SCANS:
            return False
        plugin: type[ImageFile.ImageFile] = JpegImagePlugin.JpegImageFile
    else:
        # A JP2 box around the codestream is not DICOM, and could declare another size than it.
        if not frame.startswith(_JPEG_2000_CODESTREAM):
            return False
        plugin = Jpeg2KImagePlugin.Jpeg2KImageFile
    with plugin(io.BytesIO(frame)) as header:
        return header.size[::-1] == size_hw and len(header.getbands()) == samples


def _rle_bytes(frame: bytes, limit: int) -> int:
    """How many bytes an RLE frame expands to, counted no further than past `limit`.

    PackBits (DICOM PS3.5, annex G) expands up to 64-fold and pydicom's decoder has no bound.
    """
    position, total = 64, 0
    # A packet that expands to nothing still costs a turn of the loop.
    while position < min(len(frame), 64 + limit) and total <= limit:
        control = frame[position]
        total += control + 1 if control < 128 else (257 - control) % 129
        position += control + 2 if control < 128 else (2 if control > 128 else 1)
    return total


def _integer(dataset: FileDataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"wanted one whole number as {keyword} in the DICOM header, came none or several; "
            "repair the header"
        ) from error
