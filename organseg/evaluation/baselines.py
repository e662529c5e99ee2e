"""The rows beside the method (the paper's Table II): what boxes alone and no question reach.

The oracle box is the upper bound of localisation for a frozen segmenter: what it loses, the
decoder loses. The whole-image box is the lower bound: no localisation at all. Without a question
the model sees the image and the same neutral words each time: what it scores, it owes to guessing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from organseg.contract import Verdict
from organseg.evaluation.cases import Prediction, Sample
from organseg.evaluation.overlap import Mask
from organseg.imaging.masks import box_of_mask
from organseg.organs import NONE

__all__ = ["NEUTRAL_QUESTION", "Baseline", "Predictor", "Segmenter", "WithoutQuestion", "answer_by"]

NEUTRAL_QUESTION = "Segment the organ."
"""Words that name no organ; an empty question would be refused."""


class Segmenter(Protocol):
    """Something that draws a mask inside a box."""

    def segment_box(self, pixels: npt.NDArray[np.uint8], box_xyxy: npt.NDArray[np.float32]) -> Mask:
        """Bool [H, W] from uint8 [H, W] and a box in pixels."""
        ...


class Predictor(Protocol):
    """Something that answers a question about an image: the torch reference, or a server."""

    def predict(self, pixels: npt.NDArray[np.uint8], question: str) -> Prediction:
        """The answer, from uint8 [H, W] in display orientation and a question in plain words."""
        ...


class Baseline(str, Enum):
    """Where a baseline's box comes from."""

    ORACLE_BOX = "oracle box"
    """The tight box of the true mask; an absent organ is known to be absent."""
    WHOLE_IMAGE_BOX = "whole-image box"
    """The image's own frame, whatever was asked."""


class WithoutQuestion:
    """A predictor that never gets to read the question."""

    def __init__(self, predictor: Predictor, question: str = NEUTRAL_QUESTION) -> None:
        self._predictor = predictor
        self._question = question
        self._answered: tuple[npt.NDArray[np.uint8], Prediction] | None = None

    def predict(self, pixels: npt.NDArray[np.uint8], question: str) -> Prediction:
        """The wrapped predictor's answer to the neutral question, asked once of an image."""
        del question
        if self._answered is None or not np.array_equal(self._answered[0], pixels):
            self._answered = pixels.copy(), self._predictor.predict(pixels, self._question)
        return self._answered[1]


def answer_by(segmenter: Segmenter, baseline: Baseline) -> Callable[[Sample], Prediction]:
    """A function that answers samples with the segmenter and the baseline's boxes.

    It is told which organ is asked for, so only its masks mean anything: its choice of organ and
    its refusals of out-of-scope questions are given, and there is no similarity or presence.
    """

    def answer(sample: Sample) -> Prediction:
        height, width = sample.pixels.shape
        asked = sample.asked_organ_ids or (NONE.id,)
        masks = np.zeros((len(asked), height, width), dtype=np.bool_)
        boxes = np.zeros((len(asked), 4), dtype=np.float32)
        verdicts = [Verdict.OUT_OF_SCOPE.value] * len(asked)
        for entry, organ_id in enumerate(asked):
            if organ_id == NONE.id:
                continue
            if baseline is Baseline.ORACLE_BOX:
                box = box_of_mask(sample.labels == organ_id)
            else:
                box = np.array([0.0, 0.0, width, height], dtype=np.float32)
            if not box.any():
                verdicts[entry] = Verdict.ABSENT_IN_IMAGE.value
                continue
            verdicts[entry] = Verdict.SEGMENTED.value
            boxes[entry] = box
            masks[entry] = segmenter.segment_box(sample.pixels, boxes[entry])
        return Prediction(asked, tuple(verdicts), masks, boxes)

    return answer
