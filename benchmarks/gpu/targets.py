"""What the project aims at on one H200, and whether a measurement reached it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmarks.gpu.chips import Chip
from benchmarks.gpu.work import FOLLOW_UP, LANGUAGE_STAGE
from organseg.contract import LLAVA_MED_7B, Preset

CHIP = "H200"
"""The chip that the targets are for."""
REQUEST = "request"
"""The name under which a whole request about a new image is recorded."""


class Outcome(Enum):
    """What became of a target."""

    MET = "met"
    """Measured on the chip it is for, and within it."""
    MISSED = "missed"
    """Measured on the chip it is for, and beyond it."""
    OTHER_CHIP = "measured on another chip"
    """Measured, but not on the chip that it is for."""
    NOT_MEASURED = "not measured"
    """Nothing that it speaks of was measured."""


@dataclass(frozen=True)
class Target:
    """One aim."""

    what: str
    """The stage, or `REQUEST`; at batch 1, the fastest way counts."""
    title: str
    """For people."""
    limit_ms: float
    """The median may take so long, milliseconds."""


@dataclass(frozen=True)
class Verdict:
    """One target and what was measured."""

    target: Target
    """The aim."""
    measured_ms: float | None
    """The median of the fastest way; None where there is none."""
    outcome: Outcome
    """What became of it."""


IMAGE_ENCODER = Target("image_encoder", "image encoder, half precision", 6.0)
LANGUAGE = (
    Target(LANGUAGE_STAGE, "7 B prefill of image and question", 35.0),
    Target(FOLLOW_UP, "follow-up question", 12.0),
    Target(REQUEST, "whole request", 60.0),
)


def targets_of(preset: Preset) -> tuple[Target, ...]:
    """The targets that speak of a preset's sizes: they are for the models at full size."""
    full = LLAVA_MED_7B
    encoder = (IMAGE_ENCODER,) if preset.segmenter == full.segmenter else ()
    return encoder + (LANGUAGE if preset.vision_language == full.vision_language else ())


def judge(
    targets: Sequence[Target], stages: Sequence[dict[str, Any]], chip: Chip | None
) -> list[Verdict]:
    """Every target beside the fastest median among the record's rows of its stage at batch 1.

    A row in float32 is no measurement of the image encoder in half precision.
    """
    verdicts = []
    for target in targets:
        medians = [
            float(row["milliseconds"]["p50"])
            for row in stages
            if row["stage"] == target.what
            and row["batch"] == 1
            and not (target is IMAGE_ENCODER and row["precision"] == "fp32")
        ]
        measured = min(medians, default=None)
        if measured is None:
            outcome = Outcome.NOT_MEASURED
        elif chip is None or chip.name != CHIP:
            outcome = Outcome.OTHER_CHIP
        else:
            outcome = Outcome.MET if measured <= target.limit_ms else Outcome.MISSED
        verdicts.append(Verdict(target, measured, outcome))
    return verdicts
