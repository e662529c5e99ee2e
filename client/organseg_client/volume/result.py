"""The answer to one question about a whole scan, and the files it can be written to."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.contract import Verdict
from organseg.errors import ImageError, OrganSegError
from organseg.imaging.dicom_segmentation import write_dicom_segmentation
from organseg.imaging.label_volume import LabelVolume
from organseg.imaging.nifti_labels import write_nifti_labels
from organseg.imaging.volume_geometry import VolumeGeometry
from organseg.imaging.windowing import Modality
from organseg.organs import organ_by_id
from organseg_client.result import OrganAnswer, sentence_of

__all__ = ["OrganInVolume", "SliceAnswer", "SliceFailure", "SliceOrgan", "VolumeResult"]


@dataclass(frozen=True)
class SliceOrgan(OrganAnswer):
    """What one slice's answer says of one organ."""

    area_pixels: int
    """Pixels in its mask; 0 unless segmented."""
    box_xyxy: tuple[float, ...]
    """x1 y1 x2 y2 in pixel edges of the display slice; zeros unless segmented."""
    quality: float
    """The overlap (IoU) that the mask decoder predicts; 0 unless segmented."""


@dataclass(frozen=True)
class SliceAnswer:
    """The answer to one slice, without its masks."""

    index: int
    """Which slice, 0 at the feet."""
    verdict: Verdict
    """The slice's whole answer."""
    organs: tuple[SliceOrgan, ...]
    """The organs that the question was taken to ask for."""
    request_id: str
    """The id under which the server's logs know the request."""
    server: str
    """The address of the server that answered."""
    seconds: float
    """Round trip."""


@dataclass(frozen=True, eq=False)
class SliceFailure:
    """A slice that got no answer; its masks are blank."""

    index: int
    """Which slice, 0 at the feet."""
    error: OrganSegError
    """Why, after the retries."""


@dataclass(frozen=True)
class OrganInVolume(OrganAnswer):
    """What the slices say of one organ together."""

    voxels: int
    """Voxels in its own mask, those that it shares with other organs included."""
    volume_ml: float
    """Their volume in millilitres."""
    slice_range: tuple[int, int] | None
    """First and last slice that show it, 0 at the feet; None unless segmented."""
    slice_count: int
    """How many slices show it: fewer than the range holds where it has gaps."""


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """The answer to one question about all slices of a scan.

    Masks lie in a temporary file, not in memory; `close`, or leaving a `with` block, removes it,
    and so does the end of the object. Arrays are [Z, H, W] in display orientation: slices from
    feet to head, rows down to the posterior, columns right to the patient's left. Files are
    written in the scan's own frame.
    """

    question: str = field(repr=False)
    """What was asked."""
    verdict: Verdict
    """The whole answer's: segmented if any slice was, else absent, else out of scope."""
    organs: tuple[OrganInVolume, ...]
    """The organs that the question was taken to ask for, in any slice; "none" where in no slice
    it was taken to ask for one."""
    slices: tuple[SliceAnswer, ...] = field(repr=False)
    """The answers of the slices that have one, feet to head."""
    failures: tuple[SliceFailure, ...] = field(repr=False)
    """The slices that have none."""
    geometry: VolumeGeometry = field(repr=False)
    """The scan's grid."""
    modality: Modality
    """The scanner."""
    source_files: tuple[Path, ...] = field(repr=False)
    """The NIfTI file, or the DICOM file of each slice, feet to head."""
    window: tuple[float, float]
    """(low, high) of the intensities that all slices were shown with."""
    seconds: float
    """From the first request to the last answer."""
    labels: LabelVolume = field(repr=False)
    """The masks, slice by slice: `labels_at(index)`, `mask_at(index, organ_id)`."""

    def __enter__(self) -> VolumeResult:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the masks from the disk; a second call does nothing."""
        self.labels.close()

    @property
    def reason(self) -> str:
        """What was found, or why nothing was; and how many slices have no answer, if any."""
        sentence = sentence_of(self.verdict, self.organs, "the scan")
        if self.failures:
            total = self.geometry.shape_zhw[0]
            sentence += f" {len(self.failures)} of {total} slices got no answer."
        return sentence

    @property
    def label_map(self) -> NDArray[np.uint8]:
        """Organ ids, uint8 [Z, H, W], 0 for background; read-only, mapped from the disk.

        Where organs overlap in a slice, the smaller one holds.
        """
        return self.labels.as_array()

    def mask_of(self, organ: int | str) -> NDArray[np.bool_]:
        """One organ's own mask, by id or name, bool [Z, H, W]; in memory, one byte a voxel."""
        organ_id = self._organ(organ).id
        depth = self.geometry.shape_zhw[0]
        mask = np.zeros(self.geometry.shape_zhw, dtype=np.bool_)
        for index in range(depth):
            mask[index] = self.labels.mask_at(index, organ_id)
        return mask

    def write_nifti(self, path: str | os.PathLike[str]) -> None:
        """Writes the label map as NIfTI (.nii, .nii.gz) in exactly the scan's own geometry.

        Of a DICOM series too; a blank map where nothing was segmented. Raises `ImageError` for
        another file name, `OSError` where the file cannot be written.
        """
        write_nifti_labels(Path(path), self.geometry, self.labels.labels_at)

    def write_organ_niftis(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Writes `liver.nii.gz` and so on, 1 inside and 0 outside, for each segmented organ.

        Masks may overlap between the files. Makes the folder; gives the files' paths, none where
        nothing was segmented. Raises `OSError` where one cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for organ_id in self.labels.organ_ids:
            path = folder / f"{organ_by_id(organ_id).key}.nii.gz"

            def mask_at(index: int, organ_id: int = organ_id) -> NDArray[np.uint8]:
                return self.labels.mask_at(index, organ_id).astype(np.uint8)

            write_nifti_labels(path, self.geometry, mask_at)
            paths.append(path)
        return tuple(paths)

    def write_dicom_seg(self, path: str | os.PathLike[str]) -> None:
        """Writes all segmented organs as one DICOM-SEG object (BINARY) that refers to the series.

        Raises `NothingSegmentedError` where nothing was segmented (the verdicts say why),
        `ImageError` for a scan that is no DICOM series or has no identifiers to refer to,
        `OSError` where the file cannot be written.
        """
        write_dicom_segmentation(Path(path), self.labels, self.geometry, self.source_files)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes one line for each organ of each slice, and one for each slice that failed.

        `report.COLUMNS` are the columns. Raises `OSError` where the file cannot be written.
        """
        from organseg_client.volume.report import write_csv

        write_csv(Path(path), self)

    def to_dict(self) -> dict[str, Any]:
        """The answer in plain values for JSON: without masks and without the single slices."""
        counts = Counter(answer.verdict for answer in self.slices)
        return {
            "question": self.question,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "organs": [
                {
                    "id": organ.id,
                    "letter": organ.letter,
                    "name": organ.name,
                    "verdict": organ.verdict.value,
                    "volume_ml": round(organ.volume_ml, 3),
                    "voxels": organ.voxels,
                    "slice_range": list(organ.slice_range) if organ.slice_range else None,
                    "slice_count": organ.slice_count,
                }
                for organ in self.organs
            ],
            "slices": {
                "total": self.geometry.shape_zhw[0],
                **{verdict.value: counts[verdict] for verdict in Verdict},
                "failed": len(self.failures),
            },
            "failures": [
                {"slice": one.index, "error": type(one.error).__name__, "message": str(one.error)}
                for one in self.failures
            ],
            "shape_zhw": list(self.geometry.shape_zhw),
            "spacing_zyx_mm": [round(each, 5) for each in self.geometry.spacing_zyx_mm],
            "modality": self.modality.value,
            "window": list(self.window),
            "seconds": round(self.seconds, 4),
        }

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text, one line unless `indent` is given."""
        return json.dumps(self.to_dict(), indent=indent)

    def _organ(self, organ: int | str) -> OrganInVolume:
        for one in self.organs:
            if organ in (one.id, one.name):
                return one
        raise ImageError(
            f"wanted one of the answer's organs ({', '.join(one.name for one in self.organs)}), "
            f"came {organ!r}; ask for it, or name another"
        )
