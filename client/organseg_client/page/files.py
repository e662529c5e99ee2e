"""The files that an answer can be taken home as."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from organseg.errors import InvalidInputError
from organseg.imaging.overlay import write_label_png
from organseg_client.page.answers import Answer
from organseg_client.result import SegmentationResult

if TYPE_CHECKING:
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
