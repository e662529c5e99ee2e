"""Which organ was answered: the paper's confusion matrix, and every rate that follows from it.

Rejection rates are as in generalized referring segmentation (Liu et al., GRES, 2023), twice:
*scope* asks whether the question is about one of the 13 organs at all, *absence* whether an
organ that was asked for is in this image. N-acc is the share of no-target queries rejected,
T-acc the share of target queries not rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.contract import Verdict
from organseg.data.questions import QuestionKind
from organseg.data.questions.checks import KNOWLEDGE_KINDS
from organseg.errors import InvalidInputError
from organseg.evaluation.scores import CaseScores
from organseg.organs import NONE, ORGANS, Organ

__all__ = [
    "CONFUSION_ORDER",
    "DESCRIBING_KINDS",
    "NAME_KINDS",
    "Outcome",
    "Rate",
    "absence_outcomes",
    "absence_recognition_outcomes",
    "answer_accuracy",
    "answer_outcomes",
    "choice_outcomes",
    "confusion_matrix",
    "exact_match_outcomes",
    "false_premise_recognition",
    "organ_choice_accuracy",
    "scope_acceptance",
    "scope_outcomes",
]

Confusion = npt.NDArray[np.int64]
Outcome = tuple[str, bool]
"""Patient id, and whether the query counts as a hit."""

CONFUSION_ORDER: tuple[Organ, ...] = (*sorted(ORGANS, key=lambda organ: organ.name), NONE)
"""Rows (asked) and columns (answered) of the paper's matrix: alphabetical, none last."""

NAME_KINDS = frozenset(
    {
        QuestionKind.NAME,
        QuestionKind.SYNONYM,
        QuestionKind.LATIN,
        QuestionKind.ABBREVIATION,
        QuestionKind.IMPERATIVE,
        QuestionKind.TYPO,
    }
)
"""Kinds that say the organ's name in some form, mistyped names (`TYPO`) included."""

DESCRIBING_KINDS = KNOWLEDGE_KINDS | {QuestionKind.LAY, QuestionKind.STEERED}
"""Kinds of question that must be understood, since they describe the organ."""

_INDEX_OF_ID = {organ.id: index for index, organ in enumerate(CONFUSION_ORDER)}
_NONE_INDEX = _INDEX_OF_ID[NONE.id]


@dataclass(frozen=True)
class Rate:
    """A share of queries, kept as its two counts."""

    hits: int
    """Queries that count."""
    total: int
    """Queries asked."""

    @property
    def value(self) -> float | None:
        """The share, 0 to 1, or `None` of no query."""
        return self.hits / self.total if self.total else None


def confusion_matrix(scores: Iterable[CaseScores]) -> Confusion:
    """Counts int64 [14, 14] in `CONFUSION_ORDER`, rows asked, columns answered.

    Only questions for a single organ, or for none, have a row. Where several organs were
    answered to one of them, the most similar one is the choice.
    """
    matrix = np.zeros((len(CONFUSION_ORDER), len(CONFUSION_ORDER)), dtype=np.int64)
    for case in scores:
        if len(case.asked_organ_ids) == 1:
            asked, answered = case.asked_organ_ids[0], case.answered_organ_ids[0]
            matrix[_INDEX_OF_ID[asked], _INDEX_OF_ID[answered]] += 1
    return matrix


def organ_choice_accuracy(matrix: Confusion) -> Rate:
    """The share of questions for an organ that were answered with that organ (13 rows)."""
    rows = _checked(matrix)[:_NONE_INDEX]
    return Rate(hits=int(np.trace(rows)), total=int(rows.sum()))


def answer_accuracy(matrix: Confusion) -> Rate:
    """The share of all questions, out-of-scope ones included, on the diagonal (14 rows)."""
    return Rate(hits=int(np.trace(_checked(matrix))), total=int(matrix.sum()))


def false_premise_recognition(matrix: Confusion) -> Rate:
    """Scope N-acc: out-of-scope questions answered "none" (the paper's none → none)."""
    row = _checked(matrix)[_NONE_INDEX]
    return Rate(hits=int(row[_NONE_INDEX]), total=int(row.sum()))


def scope_acceptance(matrix: Confusion) -> Rate:
    """Scope T-acc: questions for an organ that were not answered "none"."""
    rows = _checked(matrix)[:_NONE_INDEX]
    total = int(rows.sum())
    return Rate(hits=total - int(rows[:, _NONE_INDEX].sum()), total=total)


def choice_outcomes(
    scores: Iterable[CaseScores], kinds: Collection[str] | None = None
) -> list[Outcome]:
    """Of each question for one organ, whether that organ was the (most similar) one answered.

    `kinds` are the kinds of question to count; `None` for all.
    """
    return [
        (case.patient_id, case.answered_organ_ids[0] == case.asked_organ_ids[0])
        for case in scores
        if len(case.asked_organ_ids) == 1
        and not case.out_of_scope
        and (kinds is None or case.kind in kinds)
    ]


def exact_match_outcomes(scores: Iterable[CaseScores]) -> list[Outcome]:
    """Of each question for several organs, whether exactly those were answered."""
    return [
        (case.patient_id, set(case.asked_organ_ids) == set(case.answered_organ_ids))
        for case in scores
        if len(case.asked_organ_ids) > 1
    ]


def answer_outcomes(scores: Iterable[CaseScores]) -> dict[str, list[Outcome]]:
    """By the question's kind, whether the answer was right, whatever the image shows.

    Right is: the one organ asked for is the (most similar) one answered; several are answered
    exactly; an out-of-scope question is answered "none".
    """
    by_kind: dict[str, list[Outcome]] = {}
    for case in scores:
        if len(case.asked_organ_ids) == 1:
            right = case.answered_organ_ids[0] == case.asked_organ_ids[0]
        else:
            right = set(case.asked_organ_ids) == set(case.answered_organ_ids)
        by_kind.setdefault(case.kind, []).append((case.patient_id, right))
    return dict(sorted(by_kind.items()))


def scope_outcomes(scores: Sequence[CaseScores]) -> tuple[list[Outcome], list[Outcome]]:
    """Scope N-acc and T-acc: out-of-scope questions refused, all others not refused."""
    refused = [(case, case.answered_organ_ids == (NONE.id,)) for case in scores]
    return (
        [(case.patient_id, refusal) for case, refusal in refused if case.out_of_scope],
        [(case.patient_id, not refusal) for case, refusal in refused if not case.out_of_scope],
    )


def absence_outcomes(scores: Iterable[CaseScores]) -> tuple[list[Outcome], list[Outcome]]:
    """Absence N-acc and T-acc over every (query, asked organ).

    N-acc: organs not in the image for which nothing was offered. T-acc: organs in the image that
    were not rejected. Answering only with another organ is a wrong choice, not a rejection.
    """
    organs = [(case.patient_id, organ) for case in scores for organ in case.organs]
    return (
        [(patient_id, organ.rejected) for patient_id, organ in organs if not organ.present],
        [(patient_id, not organ.rejected) for patient_id, organ in organs if organ.present],
    )


def absence_recognition_outcomes(scores: Iterable[CaseScores]) -> list[Outcome]:
    """Strict absence N-acc: organs not in the image that were named and called absent.

    `absence_outcomes` also counts those that were refused as out of scope, or passed over.
    """
    return [
        (case.patient_id, organ.predicted_verdict is Verdict.ABSENT_IN_IMAGE)
        for case in scores
        for organ in case.organs
        if not organ.present
    ]


def _checked(matrix: Confusion) -> Confusion:
    side = len(CONFUSION_ORDER)
    if matrix.shape != (side, side):
        raise InvalidInputError(
            f"A confusion matrix of shape ({side}, {side}) is wanted; got {matrix.shape}. "
            "Order rows and columns as CONFUSION_ORDER."
        )
    return matrix
