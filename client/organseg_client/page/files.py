"""The files that an answer can be taken home as."""

from __future__ import annotations

import shutil
import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from organseg.errors import InvalidInputError
from organseg.imaging.dicom_segmentation import write_dicom_segmentation
from organseg.imaging.label_volume import LabelVolume
from organseg.imaging.nifti_labels import write_nifti_labels
from organseg.imaging.overlay import write_label_png
from organseg_client.page.answers import Answer
from organseg_client.result import SegmentationResult

if TYPE_CHECKING:
    from organseg.imaging.volumes import Volume
    from organseg_client.page.scan import OpenScan

__all__ = ["AnswerFile", "write_answer_file"]


class AnswerFile(str, Enum):
    """Which file; the value is its name in the address."""

    MASK_PNG = "mask.png"
    """One slice: grey values are organ ids, in the image's own frame."""
    OVERLAY_PNG = "overlay.png"
    """One slice: a picture with the organs drawn over it."""
    MASK_NIFTI = "mask.nii.gz"
    """A volume: values are organ ids, in exactly the scan's geometry."""
    DICOM_SEG = "seg.dcm"
    """A DICOM series: a DICOM segmentation that refers to it."""

    @property
    def suffix(self) -> str:
        """What the file's name ends in."""
        return {"mask.png": "_mask.png", "overlay.png": "_overlay.png"}.get(
            self.value, f"_{self.value}"
        )

    @property
    def media_type(self) -> str:
        """The media type."""
        if self is AnswerFile.DICOM_SEG:
            return "application/dicom"
        return "application/gzip" if self is AnswerFile.MASK_NIFTI else "image/png"


def write_answer_file(kind: AnswerFile, scan: OpenScan, answer: Answer, stream: BinaryIO) -> None:
    """Writes an answer as a file of that kind.

    Raises `InvalidInputError` for a kind that the scan or the answer cannot be written as, and
    what the writers raise (`NothingSegmentedError` for a DICOM-SEG without any organ).
    """
    if kind in {AnswerFile.MASK_PNG, AnswerFile.OVERLAY_PNG}:
        result = answer.result
        if not isinstance(result, SegmentationResult):
            raise InvalidInputError(
                "wanted a picture of an answer about one slice, came one about a volume; "
                "take the NIfTI file"
            )
        if kind is AnswerFile.OVERLAY_PNG:
            result.overlay().save(stream, "PNG")
        else:
            write_label_png(stream, result.masks, [organ.id for organ in result.organs])
        return
    if scan.volume is None:
        raise InvalidInputError(
            "wanted a volume to write NIfTI or DICOM-SEG for, came a single image; "
            "take the mask as PNG"
        )
    with tempfile.TemporaryDirectory(prefix="organseg-page-") as folder:
        path = Path(folder) / kind.value
        if isinstance(answer.result, SegmentationResult):
            _write_slice(kind, path, scan.volume, answer.slice_index, answer.result)
        elif kind is AnswerFile.MASK_NIFTI:
            answer.result.write_nifti(path)
        else:
            answer.result.write_dicom_seg(path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream)


def _write_slice(
    kind: AnswerFile, path: Path, volume: Volume, slice_index: int, result: SegmentationResult
) -> None:
    """One slice's masks in the geometry of its volume; the other slices are background."""
    geometry = volume.geometry
    labels = LabelVolume(geometry.shape_zhw)
    try:
        labels.write_slice(slice_index, result.masks, [organ.id for organ in result.organs])
        if kind is AnswerFile.MASK_NIFTI:
            write_nifti_labels(path, geometry, labels.labels_at)
        else:
            write_dicom_segmentation(path, labels, geometry, volume.source_files)
    finally:
        labels.close()
