"""From case scores to the record: every reported number, with its interval by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from organseg.evaluation.answers import (
    CONFUSION_ORDER,
    DESCRIBING_KINDS,
    NAME_KINDS,
    Outcome,
    absence_outcomes,
    absence_recognition_outcomes,
    answer_outcomes,
    choice_outcomes,
    confusion_matrix,
    exact_match_outcomes,
    scope_outcomes,
)
from organseg.evaluation.calibration import (
    SIMILARITY_TEMPERATURE,
    area_under_roc,
    brier_score,
    expected_calibration_error,
    refusal_probability,
    reliability_bins,
)
from organseg.evaluation.intervals import Interval, bootstrap_interval
from organseg.evaluation.record import (
    Answers,
    BaselineRow,
    Calibration,
    EvaluationRecord,
    KindAccuracy,
    OrganMetrics,
    Referring,
    Rejection,
)
from organseg.evaluation.runner import Evaluation
from organseg.evaluation.scores import CaseScores, OrganScores
from organseg.evaluation.surface import VolumeScore, ZRange
from organseg.evaluation.volumes import VolumeScores
from organseg.organs import NONE, ORGANS

__all__ = ["summarize"]

_Bootstrap = Callable[..., Interval]
_Item = tuple[str, int, float]
"""Patient, organ id, score."""


def summarize(
    evaluation: Evaluation,
    *,
    model: str,
    dataset: str,
    provenance: Mapping[str, str],
    baselines: Mapping[str, Evaluation] | None = None,
    notices: Sequence[str] = (),
    temperature: float = SIMILARITY_TEMPERATURE,
    resamples: int = 2000,
    seed: int = 0,
) -> EvaluationRecord:
    """The record of an evaluation: what was scored, and each number with its 95 % interval.

    `provenance` says what the record belongs to: commit, command, machine, versions, checkpoint.
    `temperature` makes similarities into probabilities of refusal.
    """
    bootstrap = partial(bootstrap_interval, resamples=resamples, seed=seed)
    cases = evaluation.cases
    return EvaluationRecord(
        model=model,
        dataset=dataset,
        provenance=dict(provenance),
        questions=len(cases),
        patients=len({case.patient_id for case in cases}),
        organs=tuple(_organ_metrics(evaluation, organ.id, bootstrap) for organ in ORGANS),
        mean=_organ_metrics(evaluation, None, bootstrap),
        baselines=tuple(
            _baseline_row(name, rows, bootstrap) for name, rows in (baselines or {}).items()
        ),
        confusion=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(cases).tolist()
        ),
        confusion_order=tuple(organ.name for organ in CONFUSION_ORDER),
        answers=_answers(cases, bootstrap),
        rejection=_rejection(cases, bootstrap),
        referring=_referring(cases, bootstrap),
        kinds=tuple(
            KindAccuracy(kind, _share(outcomes, bootstrap))
            for kind, outcomes in answer_outcomes(cases).items()
        ),
        presence=_presence(cases),
        refusal=_refusal(cases, temperature),
        notices=tuple(notices),
    )


def _organ_metrics(
    evaluation: Evaluation, organ_id: int | None, bootstrap: _Bootstrap
) -> OrganMetrics:
    """Metrics of one organ, or, of `None`, their mean over the organs that have them."""

    def slices(score: Callable[[OrganScores], float | None]) -> Interval:
        return _interval(_slice_items(evaluation.cases, score), organ_id, bootstrap)

    def volumes(score: Callable[[VolumeScores], float | None]) -> Interval:
        return _interval(_volume_items(evaluation.volumes, score), organ_id, bootstrap)

    def ranged(z_range: ZRange, score: Callable[[VolumeScore], float | None]) -> Interval:
        return volumes(
            lambda volume: None if volume.scores is None else score(volume.scores[z_range])
        )

    return OrganMetrics(
        name="mean" if organ_id is None else ORGANS[organ_id - 1].name,
        dice_present=slices(lambda organ: organ.counts.dice if organ.present else None),
        dice_empty_aware=slices(lambda organ: organ.counts.dice),
        iou_present=slices(lambda organ: organ.counts.iou if organ.present else None),
        box_iou_present=slices(lambda organ: organ.box_iou),
        surface_dice_slice=slices(lambda organ: organ.surface_dice),
        volume_dice_shown=volumes(lambda volume: volume.dice_where_shown),
        volume_dice_official=ranged(ZRange.OFFICIAL, lambda score: score.dice),
        volume_dice_fixed=ranged(ZRange.FIXED, lambda score: score.dice),
        surface_dice_official=ranged(ZRange.OFFICIAL, lambda score: score.surface_dice),
        surface_dice_fixed=ranged(ZRange.FIXED, lambda score: score.surface_dice),
        volumes_not_scored=sum(
            volume.scores is None or volume.scores[ZRange.OFFICIAL].dice is None
            for volume in evaluation.volumes
            if organ_id in (None, volume.organ_id)
        ),
    )


def _slice_items(
    cases: Sequence[CaseScores], score: Callable[[OrganScores], float | None]
) -> list[_Item]:
    return [
        (case.patient_id, organ.organ_id, value)
        for case in cases
        for organ in case.organs
        if (value := score(organ)) is not None
    ]


def _volume_items(
    volumes: Sequence[VolumeScores], score: Callable[[VolumeScores], float | None]
) -> list[_Item]:
    return [
        (volume.patient_id, volume.organ_id, value)
        for volume in volumes
        if (value := score(volume)) is not None
    ]


def _interval(items: list[_Item], organ_id: int | None, bootstrap: _Bootstrap) -> Interval:
    """The mean of one organ's items, or, of `None`, the mean over organs of their means."""
    chosen = [item for item in items if organ_id in (None, item[1])]
    return bootstrap(
        [value for _, _, value in chosen],
        [patient for patient, _, _ in chosen],
        groups=[organ for _, organ, _ in chosen],
    )


def _baseline_row(name: str, evaluation: Evaluation, bootstrap: _Bootstrap) -> BaselineRow:
    items = _slice_items(
        evaluation.cases, lambda organ: organ.counts.dice if organ.present else None
    )
    return BaselineRow(
        name=name,
        dice_present=tuple(_interval(items, organ.id, bootstrap) for organ in ORGANS),
        mean=_interval(items, None, bootstrap),
    )


def _share(items: Sequence[Outcome], bootstrap: _Bootstrap) -> Interval:
    return bootstrap([float(hit) for _, hit in items], [patient for patient, _ in items])


def _answers(cases: Sequence[CaseScores], bootstrap: _Bootstrap) -> Answers:
    choices = choice_outcomes(cases)
    refusals, _ = scope_outcomes(cases)
    return Answers(
        organ_choice=_share(choices, bootstrap),
        choice_by_name=_share(choice_outcomes(cases, NAME_KINDS), bootstrap),
        choice_by_knowledge=_share(choice_outcomes(cases, DESCRIBING_KINDS), bootstrap),
        all_answers=_share([*choices, *refusals], bootstrap),
        multi_organ_exact_match=_share(exact_match_outcomes(cases), bootstrap),
    )


def _rejection(cases: Sequence[CaseScores], bootstrap: _Bootstrap) -> Rejection:
    scope_refused, scope_accepted = scope_outcomes(cases)
    absence_refused, absence_accepted = absence_outcomes(cases)
    margins = [
        (case.scope_margin, case.out_of_scope) for case in cases if case.scope_margin is not None
    ]
    return Rejection(
        scope_n_acc=_share(scope_refused, bootstrap),
        scope_t_acc=_share(scope_accepted, bootstrap),
        absence_n_acc=_share(absence_refused, bootstrap),
        absence_n_acc_strict=_share(absence_recognition_outcomes(cases), bootstrap),
        absence_t_acc=_share(absence_accepted, bootstrap),
        scope_auc=area_under_roc(
            [margin for margin, _ in margins], [out_of_scope for _, out_of_scope in margins]
        ),
    )


def _referring(cases: Sequence[CaseScores], bootstrap: _Bootstrap) -> Referring:
    patients = [case.patient_id for case in cases]
    return Referring(
        generalized_iou=bootstrap([case.query.iou for case in cases], patients),
        cumulative_iou=bootstrap(
            [case.query.intersection for case in cases],
            patients,
            denominators=[case.query.union for case in cases],
        ),
    )


def _presence(cases: Sequence[CaseScores]) -> Calibration:
    # The organ queries read the question too, so one slice has as many vectors as questions. Their
    # mean counts once: a slice that was asked about often weighs no more than another. Refused
    # questions never use presence, so out-of-scope ones are left out.
    stated: dict[tuple[str, int, int, bool], list[float]] = {}
    for case in cases:
        for organ_id, probability, present in () if case.out_of_scope else case.presence:
            place = (case.patient_id, case.slice_index, organ_id, present)
            stated.setdefault(place, []).append(probability)
    items = [
        _Stated(organ_id, sum(probabilities) / len(probabilities), present)
        for (_, _, organ_id, present), probabilities in stated.items()
    ]
    return _calibration(
        items,
        auc_per_organ=tuple(
            _ranking([item for item in items if item.organ_id == organ.id]) for organ in ORGANS
        ),
    )


def _refusal(cases: Sequence[CaseScores], temperature: float) -> Calibration:
    return _calibration(
        [
            _Stated(NONE.id, refusal_probability(case.similarity, temperature), case.out_of_scope)
            for case in cases
            if case.similarity is not None
        ]
    )


class _Stated(NamedTuple):
    """A stated probability and what came true."""

    organ_id: int
    probability: float
    outcome: bool


def _calibration(
    items: Sequence[_Stated], auc_per_organ: tuple[float | None, ...] = ()
) -> Calibration:
    probabilities = [item.probability for item in items]
    outcomes = [item.outcome for item in items]
    bins = reliability_bins(probabilities, outcomes)
    return Calibration(
        count=len(items),
        bins=bins,
        expected_calibration_error=expected_calibration_error(bins),
        brier=brier_score(probabilities, outcomes),
        auc=area_under_roc(probabilities, outcomes),
        auc_per_organ=auc_per_organ,
    )


def _ranking(items: Sequence[_Stated]) -> float | None:
    return area_under_roc([item.probability for item in items], [item.outcome for item in items])
