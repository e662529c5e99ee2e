"""One opened image or volume: as it is shown, as it is asked about, and where its masks belong.

What is shown is [Z, H, W] in display orientation (feet to head, to the posterior, to the
patient's left), one slice for a picture. Masks of answers travel to the page in the same frame.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.decoding import decode_image
from organseg.imaging.dicom import looks_like_dicom
from organseg.imaging.limits import MAX_IMAGE_BYTES
from organseg.imaging.orientation import IDENTITY, DisplayOrientation
from organseg.imaging.scan import NIFTI_SUFFIXES
from organseg.imaging.volumes import Volume, read_dicom_series, read_nifti
from organseg.imaging.windowing import Modality

__all__ = ["OpenScan", "ScanKind", "open_scan"]

_MAX_TEXTURE_SIDE = 2048
"""The least that every WebGL 2 of today offers as the side of a 3-D texture; the standard's own
promise, 256, would be too small for any CT."""

_GZIP = b"\x1f\x8b"
_NIFTI_MAGIC_AT, _NIFTI_MAGICS = 344, (b"n+1\0", b"ni1\0")


class ScanKind(str, Enum):
    """What was opened."""

    PICTURE = "picture"
    """One image: PNG, JPEG, single-frame DICOM or `.npy`."""
    NIFTI = "nifti"
    """A NIfTI volume."""
    DICOM_SERIES = "dicom_series"
    """The slices of one DICOM series."""


@dataclass(frozen=True, eq=False)
class OpenScan:
    """One opened image or volume; nothing of it changes."""

    kind: ScanKind
    """What was opened."""
    name: str
    """What the user calls it."""
    shown: NDArray[Any] = field(repr=False)
    """Grey levels (uint8), HU or signal (int16, float32), [Z, H, W] in display orientation."""
    window: tuple[float, float]
    """The intensities that are shown black and white at first, and with which slices are asked."""
    spacing_zyx_mm: tuple[float, float, float]
    """Distance of neighbouring voxels; 1 where the image does not say."""
    modality: Modality
    """The scanner, where the file names it."""
    volume: Volume | None = field(default=None, repr=False)
    """The volume; None for a picture."""
    content: bytes = field(default=b"", repr=False)
    """The encoded picture; empty for a volume."""
    orientation: DisplayOrientation = IDENTITY
    """How the picture's own frame becomes what is shown; a volume's slices are shown already."""
    knows_sides: bool = False
    """Whether left and right are known from the file, not assumed."""

    @property
    def step(self) -> int:
        """Every how manyth row and column is sent to the browser: 1 but for very large images."""
        return -(-max(self.shown.shape[1:]) // _MAX_TEXTURE_SIDE)

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return int(self.shown.nbytes) + len(self.content)

    def to_dict(self) -> dict[str, Any]:
        """What the page needs to show it."""
        slices, height, width = self.shown.shape
        return {
            "kind": self.kind.value,
            "name": self.name,
            "modality": self.modality.value,
            "slices": slices,
            "size_hw": [height, width],
            "step": self.step,
            "spacing_zyx_mm": [round(side, 4) for side in self.spacing_zyx_mm],
            "window": list(self.window),
            "range": [float(self.shown.min()), float(self.shown.max())],
            "knows_sides": self.knows_sides,
        }

    def question_arguments(self, slice_index: int) -> dict[str, Any]:
        """What `segment` and `explain` are given, beside the question, for one slice."""
        if self.volume is None:
            return {"image": self.content}
        return {"image": self.volume.slice_at(slice_index), "window": self.window}

    def to_shown(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A mask or label map [..., H, W] of an answer about a slice, as it is shown."""
        return np.ascontiguousarray(self.orientation.apply(mask))

    def boxes_to_shown(self, boxes_xyxy: NDArray[Any]) -> NDArray[np.float32]:
        """Boxes [K, 4] of an answer about a slice, pixel edges, in the frame that is shown."""
        height, width = self.shown.shape[1:]
        stored_hw = (width, height) if self.orientation.transpose else (height, width)
        return self.orientation.inverse().invert_boxes_xyxy(boxes_xyxy, stored_hw)

    def nifti(self) -> bytes:
        """What is shown as a NIfTI file, for the browser's viewer; not the file that was opened."""
        import nibabel

        between_slices, between_rows, between_columns = self.spacing_zyx_mm
        step = self.step
        affine = np.diag([-between_columns * step, -between_rows * step, between_slices, 1.0])
        values = self.shown[:, ::step, ::step].transpose(2, 1, 0)
        image = nibabel.nifti1.Nifti1Image(values, affine)
        image.header["cal_min"], image.header["cal_max"] = self.window
        stream = io.BytesIO()
        image.to_stream(stream)
        return stream.getvalue()


def open_scan(paths: tuple[Path, ...], name: str) -> OpenScan:
    """The image or volume that files hold: one picture, one NIfTI, or one DICOM series or folder.

    Raises `ImageError` for files that cannot be used, with the remedy.
    """
    if not paths:
        raise ImageError("wanted a file, came none; choose an image or the files of one series")
    if len(paths) == 1 and not paths[0].is_dir():
        return _open_file(paths[0], name)
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    if len(paths) > 1:
        _check_series(paths)
    return _of_volume(ScanKind.DICOM_SERIES, name, read_dicom_series(folder))


def _check_series(paths: tuple[Path, ...]) -> None:
    """Several pictures are no series: said before the reader looks for slices in them."""
    for path in paths:
        with path.open("rb") as file:
            if looks_like_dicom(file.read(4096)):
                return
    raise ImageError(
        f"wanted one image or the slices of one DICOM series, came {len(paths)} files of which "
        "none is DICOM; open one file at a time"
    )


def _open_file(path: Path, name: str) -> OpenScan:
    if not path.is_file():
        raise ImageError("wanted an image file or a folder, found neither at the path; check it")
    with path.open("rb") as file:
        start = file.read(352)
    is_nifti = start.startswith(_GZIP) or start[_NIFTI_MAGIC_AT:348] in _NIFTI_MAGICS
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return _of_volume(ScanKind.NIFTI, name, read_nifti(path))
    if is_nifti:
        raise ImageError(
            "wanted a NIfTI file whose name ends in .nii or .nii.gz, came one of another name; "
            "rename it"
        )
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise ImageError(
            f"wanted an image of at most {MAX_IMAGE_BYTES} bytes, came a larger file that is no "
            "NIfTI; open one slice, or the volume as NIfTI or DICOM series"
        )
    content = path.read_bytes()
    decoded = decode_image(content)
    return OpenScan(
        kind=ScanKind.PICTURE,
        name=name,
        shown=decoded.pixels[None],
        window=(0.0, 255.0),
        spacing_zyx_mm=(1.0, 1.0, 1.0),
        modality=decoded.modality,
        content=content,
        orientation=decoded.orientation,
        knows_sides=looks_like_dicom(content),
    )


def _of_volume(kind: ScanKind, name: str, volume: Volume) -> OpenScan:
    if volume.values.shape[0] > _MAX_TEXTURE_SIDE:
        raise ImageError(
            f"wanted at most {_MAX_TEXTURE_SIDE} slices to show, came {volume.values.shape[0]}; "
            "open a part of the scan, or use organseg-client volume"
        )
    return OpenScan(
        kind=kind,
        name=name,
        shown=volume.values,
        window=volume.default_window(),
        spacing_zyx_mm=volume.spacing_zyx_mm,
        modality=volume.modality,
        volume=volume,
        knows_sides=True,
    )
