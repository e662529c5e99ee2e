"""The small record that stays of a case once its masks are dropped.

Two matchings, both needed. *By name*: an asked organ is scored against the predicted mask of
that organ. Where the answer does not name it, a present organ is scored against an empty mask, an
absent one against all that was drawn under names that were not asked for: drawing the liver when
the missing gallbladder was asked for is a false positive. *By query*, as LISA: the union of the
asked organs against the union of everything drawn, whatever it was called.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organseg.contract import Verdict
from organseg.evaluation.cases import Case
from organseg.evaluation.overlap import Mask, MaskCounts, box_iou, count_pixels
from organseg.evaluation.surface import SURFACE_TOLERANCE_MM, surface_dice
from organseg.imaging.masks import box_of_mask
from organseg.organs import NONE

__all__ = ["CaseScores", "OrganScores", "score_case"]


@dataclass(frozen=True)
class OrganScores:
    """One asked organ of a case, matched by name."""

    organ_id: int
    """The organ asked for, 1 to 13."""
    truth_verdict: Verdict
    """`SEGMENTED` where the image shows it, otherwise `ABSENT_IN_IMAGE`."""
    predicted_verdict: Verdict | None
    """The verdict given for it; `None` where only other organs were answered."""
    rejected: bool
    """Nothing was offered for it: by its own verdict, or, where the answer does not name it,
    nothing was drawn under a name that was not asked for."""
    counts: MaskCounts
    """Pixel counts of its true and its predicted mask."""
    surface_dice: float | None
    """Surface Dice within this slice; `None` where the organ is absent."""
    box_iou: float | None
    """Predicted box against the true mask's tight box; `None` where the organ is absent."""

    @property
    def present(self) -> bool:
        """Whether the image shows the organ."""
        return self.truth_verdict is Verdict.SEGMENTED


@dataclass(frozen=True)
class CaseScores:
    """All that the summary needs of one case: a few hundred bytes."""

    patient_id: str
    """Who the image is of."""
    slice_index: int
    """The slice's place in the patient's volume."""
    asked_organ_ids: tuple[int, ...]
    """Organ ids asked for; `(14,)` for an out-of-scope question."""
    answered_organ_ids: tuple[int, ...]
    """Organ ids answered, the one most similar first; `(14,)` for a refusal."""
    organs: tuple[OrganScores, ...]
    """Scores of each asked organ; empty for an out-of-scope question."""
    rejected: bool
    """The answer has no `segmented` entry."""
    query: MaskCounts
    """Pixel counts of the query as a whole, unions over organs."""
    similarity: tuple[float, ...] | None
    """Of the question with each of the 14 answers, in id order; `None` from a baseline."""
    presence: tuple[tuple[int, float, bool], ...]
    """(organ id, predicted probability, truly present) of each labelled organ."""
    kind: str = ""
    """The question's kind; empty where it was not told."""

    @property
    def out_of_scope(self) -> bool:
        """Whether the question asks for none of the organs."""
        return self.asked_organ_ids == (NONE.id,)

    @property
    def scope_margin(self) -> float | None:
        """Similarity of none minus the best organ's: high where the question looks out of scope."""
        if self.similarity is None:
            return None
        return self.similarity[NONE.id - 1] - max(self.similarity[: NONE.id - 1])


def score_case(case: Case) -> CaseScores:
    """The scores of one case. Raises `ImageError` for a spacing that is not positive."""
    prediction = case.prediction
    segmented = [verdict == Verdict.SEGMENTED for verdict in prediction.verdicts]
    answered = _answered_organ_ids(case)
    organs = tuple(
        _score_organ(case, organ_id, truth)
        for organ_id, truth in zip(case.asked_organ_ids, case.truth_masks, strict=True)
        if organ_id != NONE.id
    )
    return CaseScores(
        patient_id=case.patient_id,
        slice_index=case.slice_index,
        asked_organ_ids=case.asked_organ_ids,
        answered_organ_ids=answered,
        organs=organs,
        rejected=not any(segmented),
        query=count_pixels(case.truth_masks.any(axis=0), prediction.masks.any(axis=0)),
        similarity=_similarity_of(case),
        presence=_presence_of(case),
        kind=case.kind,
    )


def _score_organ(case: Case, organ_id: int, truth: Mask) -> OrganScores:
    prediction = case.prediction
    entry = prediction.organ_ids.index(organ_id) if organ_id in prediction.organ_ids else None
    if entry is not None:
        verdict: Verdict | None = Verdict(prediction.verdicts[entry])
        predicted = prediction.masks[entry]
        box = prediction.boxes_xyxy[entry]
        rejected = verdict is not Verdict.SEGMENTED
    else:
        refused = set(prediction.verdicts) == {Verdict.OUT_OF_SCOPE.value}
        verdict = Verdict.OUT_OF_SCOPE if refused else None
        offered = _drawn_unasked(case)
        predicted = np.zeros_like(truth) if truth.any() else offered
        box = np.zeros(4, dtype=np.float32)
        rejected = not offered.any()
    true_box = box_of_mask(truth) if truth.any() else None
    return OrganScores(
        organ_id=organ_id,
        truth_verdict=Verdict.ABSENT_IN_IMAGE if true_box is None else Verdict.SEGMENTED,
        predicted_verdict=verdict,
        rejected=rejected,
        counts=count_pixels(truth, predicted),
        surface_dice=None
        if true_box is None
        else surface_dice(
            truth, predicted, case.spacing_zyx_mm[1:], SURFACE_TOLERANCE_MM[organ_id]
        ),
        box_iou=None if true_box is None else box_iou(box, true_box),
    )


def _drawn_unasked(case: Case) -> Mask:
    """All that was drawn under the names of organs that were not asked for, bool [H, W]."""
    unasked = [organ_id not in case.asked_organ_ids for organ_id in case.prediction.organ_ids]
    drawn: Mask = case.prediction.masks[unasked].any(axis=0)
    return drawn


def _answered_organ_ids(case: Case) -> tuple[int, ...]:
    """The answered organs, the most similar first, so that a single choice can be read off."""
    organ_ids, similarity = case.prediction.organ_ids, case.prediction.similarity
    if similarity is None:
        return organ_ids
    return tuple(sorted(organ_ids, key=lambda organ_id: -float(similarity[organ_id - 1])))


def _similarity_of(case: Case) -> tuple[float, ...] | None:
    similarity = case.prediction.similarity
    return None if similarity is None else tuple(float(value) for value in similarity)


def _presence_of(case: Case) -> tuple[tuple[int, float, bool], ...]:
    if case.prediction.presence is None:
        return ()
    return tuple(
        (index + 1, float(case.prediction.presence[index]), present)
        for index, present in enumerate(case.truth_presence)
        if present is not None
    )
