"""What a question about an opened scan brought: its masks as shown, and its words for the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from organseg.imaging.masks import flatten_masks
from organseg.organs import ORGANS, organ_by_id
from organseg_client.result import SegmentationResult

if TYPE_CHECKING:
    from organseg_client.page.scan import OpenScan
    from organseg_client.volume.result import VolumeResult

__all__ = ["Answer", "Scope", "answer_about_slice", "answer_about_volume", "organ_colours"]


class Scope(str, Enum):
    """What a question is about."""

    SLICE = "slice"
    """The slice that is shown."""
    VOLUME = "volume"
    """Every slice of the volume."""


@dataclass(eq=False)
class Answer:
    """One answer, kept until its scan is closed."""

    number: int
    """Which question about this scan it answers, 1 for the first."""
    scope: Scope
    """What it is about."""
    slice_index: int
    """The slice that was shown when it was asked, 0 at the feet."""
    question: str
    """The question."""
    result: SegmentationResult | VolumeResult = field(repr=False)
    """The client's own result, for files and explanations."""
    labels: NDArray[np.uint8] = field(repr=False)
    """Organ ids, 0 for background, in the frame that is shown: [H, W], or [Z, H, W]."""
    words: dict[str, Any] = field(repr=False)
    """Verdict, reason, organs and how sure, in plain values."""
    explanation: str = ""
    """The explanation's text, once it has been asked for."""

    @property
    def size_bytes(self) -> int:
        """What it holds in memory, near enough."""
        # A volume's own masks lie on the disk, mapped into `labels`.
        masks = self.result.masks.nbytes if isinstance(self.result, SegmentationResult) else 0
        return int(self.labels.nbytes + masks)

    def to_dict(self) -> dict[str, Any]:
        """The answer for the page."""
        return {
            "number": self.number,
            "scope": self.scope.value,
            "slice_index": self.slice_index,
            "question": self.question,
            "explanation": self.explanation,
            **self.words,
        }


def answer_about_slice(
    scan: OpenScan, number: int, question: str, slice_index: int, result: SegmentationResult
) -> Answer:
    """The answer to a question about one slice."""
    words = result.to_dict()
    shown_boxes = scan.boxes_to_shown(result.boxes)
    for organ, box in zip(words["organs"], shown_boxes.tolist(), strict=True):
        organ["box_xyxy"] = [round(edge, 2) for edge in box]
        organ["colour_rgb"] = list(organ_by_id(organ["id"]).color_rgb)
    labels = flatten_masks(result.masks, [organ.id for organ in result.organs])
    return Answer(
        number=number,
        scope=Scope.SLICE,
        slice_index=slice_index,
        question=question,
        result=result,
        labels=scan.to_shown(labels),
        words=words,
    )


def answer_about_volume(
    number: int, question: str, slice_index: int, result: VolumeResult
) -> Answer:
    """The answer to a question about every slice; `slice_index` is the one that was shown."""
    words = result.to_dict()
    for organ in words["organs"]:
        organ["colour_rgb"] = list(organ_by_id(organ["id"]).color_rgb)
        organ["quality"] = _mean_quality(result, organ["id"])
    return Answer(
        number=number,
        scope=Scope.VOLUME,
        slice_index=slice_index,
        question=question,
        result=result,
        labels=result.label_map,
        words=words,
    )


def _mean_quality(result: VolumeResult, organ_id: int) -> float | None:
    """Mean over the slices that show the organ; None where none does."""
    qualities = [
        organ.quality
        for answer in result.slices
        for organ in answer.organs
        if organ.id == organ_id and organ.area_pixels
    ]
    return round(sum(qualities) / len(qualities), 4) if qualities else None


def organ_colours() -> list[dict[str, Any]]:
    """The 13 organs with their colours, for the page's legend and its label colours."""
    return [
        {"id": organ.id, "name": organ.name, "colour_rgb": list(organ.color_rgb)}
        for organ in ORGANS
    ]
