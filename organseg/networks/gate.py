"""I_out: which organs were asked for, and which of them the image shows.

Plain numpy on one request. The paper compares F_t with the context cache and answers "none"
where an irrelevant feature C' is nearest; beyond it, several organs may be asked for at once,
and a real organ that the image does not show is told apart from an out-of-scope question.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from organseg.contract.verdicts import PADDING, Verdict, padded_count
from organseg.organs import NONE, ORGANS

WHOLE_IMAGE_BOX = (0.0, 0.0, 1.0, 1.0)
"""The box prompt of entries whose mask is not used, fractions of the image."""


@dataclass(frozen=True)
class Thresholds:
    """What the gate decides by; chosen on validation data and kept in the context cache."""

    rejection_margin: float = 0.0
    """How much nearer than C' the nearest organ must be, in cosine; 0 is the paper's argmax."""
    organ_margin: float = 0.03
    """How far behind the nearest organ another asked organ may be, in cosine."""
    presence: tuple[float, ...] = (0.5,) * len(ORGANS)
    """Per organ, the probability from which it counts as shown by the image."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file header."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Thresholds:
        """The thresholds of a file header; raises `KeyError` where one is missing."""
        return cls(
            rejection_margin=float(values["rejection_margin"]),
            organ_margin=float(values["organ_margin"]),
            presence=tuple(float(value) for value in values["presence"]),
        )


@dataclass(frozen=True)
class GateDecision:
    """The answer before masks: one entry per asked organ, then padding."""

    prompt_boxes: npt.NDArray[np.float32]
    """float32 [K, 4], fractions of the image; the whole image where no mask is wanted."""
    organs: npt.NDArray[np.int32]
    """int32 [K], organ ids 1 to 14; 0 in the padding."""
    verdicts: npt.NDArray[np.int32]
    """int32 [K], verdict codes; 0 in the padding."""
    organ_presence: npt.NDArray[np.float32]
    """float32 [13], the presence decided by: zero everywhere for a blank image."""


def asked_organs(similarity: npt.NDArray[np.float32], thresholds: Thresholds) -> list[int]:
    """The organ ids that a question asks for, ascending; empty where it is out of scope.

    Args:
        similarity: float32 [14], cosine of F_t with organs 1 to 13, then with C'.
        thresholds: what to decide by.
    """
    organs, irrelevant = similarity[: len(ORGANS)], float(similarity[len(ORGANS)])
    nearest = float(organs.max())
    if nearest - irrelevant < thresholds.rejection_margin:
        return []
    floor = max(nearest - thresholds.organ_margin, irrelevant + thresholds.rejection_margin)
    return [int(index) + 1 for index in np.flatnonzero(organs >= floor)]


def decide(
    similarity: npt.NDArray[np.float32],
    presence: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    *,
    image_is_blank: bool,
    thresholds: Thresholds,
) -> GateDecision:
    """The verdict on every asked organ, padded to one of the contract's prompt counts.

    Args:
        similarity: float32 [14].
        presence: float32 [13], probability that the image shows each organ.
        boxes: float32 [13, 4], fractions of the image.
        image_is_blank: whether all pixels are equal; such an image shows no organ.
        thresholds: what to decide by.
    """
    shown = np.zeros_like(presence) if image_is_blank else presence
    asked = asked_organs(similarity, thresholds)
    organs = asked or [NONE.id]
    count = padded_count(len(organs))
    decision = GateDecision(
        prompt_boxes=np.tile(np.asarray(WHOLE_IMAGE_BOX, dtype=np.float32), (count, 1)),
        organs=np.full(count, PADDING, dtype=np.int32),
        verdicts=np.full(count, PADDING, dtype=np.int32),
        organ_presence=shown.astype(np.float32),
    )
    for entry, organ_id in enumerate(organs):
        verdict = Verdict.OUT_OF_SCOPE
        if organ_id != NONE.id:
            is_shown = shown[organ_id - 1] >= thresholds.presence[organ_id - 1]
            verdict = Verdict.SEGMENTED if is_shown else Verdict.ABSENT_IN_IMAGE
        if verdict is Verdict.SEGMENTED:
            decision.prompt_boxes[entry] = boxes[organ_id - 1]
        decision.organs[entry] = organ_id
        decision.verdicts[entry] = verdict.code
    return decision
