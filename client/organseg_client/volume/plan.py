"""What a volume's slices are asked with, and how much of it is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.scan import Scan, open_scan
from organseg_client.images import encode_window
from organseg_client.outcome import SegmentRequest

__all__ = ["FailurePolicy", "ScanInput", "VolumePlan", "VolumeProgress", "plan_volume"]

ScanInput: TypeAlias = "str | os.PathLike[str] | Scan"
"""What a caller may give as a scan: the path of a NIfTI file or DICOM folder, or an open scan."""


class FailurePolicy(Enum):
    """What becomes of a volume when a slice gets no answer, after its retries."""

    FINISH = "finish"
    """The others are asked all the same; the result lists the failed ones."""
    STOP = "stop"
    """The first failure ends the call with its error."""


@dataclass(frozen=True)
class VolumeProgress:
    """How far a volume is."""

    done: int
    """Slices that have an answer or have failed."""
    total: int
    """Slices of the volume."""
    failed: int
    """Slices that have failed so far."""


@dataclass(frozen=True, eq=False)
class VolumePlan:
    """One question for all slices of a scan, feet to head."""

    scan: Scan
    """The scan."""
    question: str | bytes = field(repr=False)
    """What is asked of each slice."""
    window: tuple[float, float]
    """(low, high) of the intensities, the same for all slices."""

    def requests(self) -> Iterator[SegmentRequest]:
        """A request for each slice; the slice is read when it is sent, not before."""
        for index in range(self.scan.geometry.shape_zhw[0]):
            yield SegmentRequest(self.scan, self.question, self.window, index)


def plan_volume(
    scan: ScanInput, question: str | bytes, window: Sequence[float] | NDArray[Any] | None
) -> VolumePlan:
    """Opens the scan and settles the window; of an MR or unknown scan this reads all slices.

    Raises `ImageError` for what is no scan, `WindowError` for a window that is none.
    """
    low_high = None if window is None else encode_window(window)
    if isinstance(scan, (str, os.PathLike)):
        opened = open_scan(scan)
    elif isinstance(scan, Scan):
        opened = scan
    else:
        raise ImageError(
            "wanted a NIfTI file, a DICOM folder or an open scan, came "
            f"{type(scan).__name__}; give the path of one"
        )
    try:
        return VolumePlan(opened, question, low_high or encode_window(opened.default_window()))
    except BaseException:
        if opened is not scan:
            opened.close()
        raise
