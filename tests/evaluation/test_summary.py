from __future__ import annotations

import numpy as np
import pytest
from evaluation_shapes import disk
from sklearn.metrics import roc_auc_score

from organseg.evaluation.overlap import dice_empty_aware
from organseg.evaluation.referring import cumulative_iou, generalized_iou
from organseg.evaluation.runner import Evaluation
from organseg.evaluation.scores import score_case
from organseg.evaluation.summary import summarize
from organseg.organs import ORGANS


def mean(values):
    return sum(values) / len(values)


LIVER_DICE = [dice_empty_aware(disk(12, 10, 5), disk(12, 10 + number, 5)) for number in range(3)]


def test_what_was_asked_is_counted(record):
    assert (record.questions, record.patients) == (30, 3)
    assert [organ.name for organ in record.organs] == [organ.name for organ in ORGANS]


def test_present_only_dice_is_the_mean_over_queries_that_show_the_organ(record):
    liver, spleen, aorta = (record.organs[index] for index in (0, 2, 4))
    # Each liver is asked for alone (shifted by 0, 1, 2 pixels) and with the spleen (exact).
    assert liver.dice_present.value == pytest.approx((mean(LIVER_DICE) + 1) / 2)
    assert liver.dice_present.count == 12
    assert spleen.dice_present.value == pytest.approx(0.5)
    assert aorta.dice_present.value is None


def test_empty_aware_dice_charges_the_false_positive_on_the_absent_aorta(record):
    aorta = record.organs[4]
    assert aorta.dice_empty_aware.value == 0.0
    assert aorta.dice_empty_aware.count == 6


def test_the_mean_weighs_organs_the_same_and_leaves_unscored_ones_out(record):
    liver, spleen = record.organs[0], record.organs[2]
    expected = (liver.dice_present.value + spleen.dice_present.value) / 2
    assert record.mean.dice_present.value == pytest.approx(expected)


def test_volume_scores_are_per_patient_and_tell_what_was_not_scored(record):
    assert record.organs[0].volume_dice_fixed.count == 3
    assert record.organs[0].volume_dice_fixed.value == pytest.approx(mean(LIVER_DICE))
    # The aorta is absent and drawn in each volume: scored, with zero.
    assert record.organs[4].volume_dice_official.value == 0.0
    assert record.mean.volumes_not_scored == 0


def test_rates_are_those_of_the_answers(record):
    answers, rejection = record.answers, record.rejection
    assert answers.organ_choice.value == 1.0
    assert answers.organ_choice.count == 18
    assert answers.all_answers.count == 24
    assert answers.multi_organ_exact_match.value == 1.0
    assert (rejection.scope_n_acc.value, rejection.scope_t_acc.value) == (1.0, 1.0)
    assert rejection.scope_auc == 1.0
    assert rejection.absence_n_acc.value == 0.0
    # Of 24 (query, present organ) pairs the 6 spleens asked for alone were rejected.
    assert rejection.absence_t_acc.value == pytest.approx(18 / 24)


def test_a_kinds_accuracy_is_that_of_its_questions(make_case):
    drawn = (1, "segmented", disk(12, 10, 5))
    cases = [
        score_case(make_case(drawn, kind="function")),
        score_case(make_case(drawn, asked=(3,), kind="function")),
        score_case(make_case(drawn, (3, "absent_in_image", None), asked=(1, 3), kind="pair")),
        score_case(make_case((14, "out_of_scope", None), asked=(), kind="chit_chat")),
    ]
    kinds = summarize(Evaluation(tuple(cases), ()), model="m", dataset="d", provenance={}).kinds
    assert {row.kind: (row.accuracy.value, row.accuracy.count) for row in kinds} == {
        "chit_chat": (1.0, 1),
        "function": (0.5, 2),
        "pair": (1.0, 1),
    }


def test_refusal_is_the_softmax_of_similarities_over_the_temperature(make_case):
    similarity = np.linspace(-0.2, 0.3, 14)
    case = score_case(make_case((14, "out_of_scope", None), asked=(), similarity=similarity))
    record = summarize(
        Evaluation((case,), ()), model="m", dataset="d", provenance={}, temperature=0.1
    )
    expected = np.exp(similarity[-1] / 0.1) / np.exp(similarity / 0.1).sum()
    assert record.refusal.brier == pytest.approx((expected - 1) ** 2)
    assert record.refusal.count == 1


def test_the_confusion_matrix_counts_single_organ_questions(record):
    matrix = np.array(record.confusion)
    assert matrix.sum() == 24
    assert record.confusion_order[-1] == "none"
    assert matrix[-1, -1] == 6


def test_referring_scores_equal_their_definitions(record, evaluation):
    queries = [case.query for case in evaluation.cases]
    assert record.referring.generalized_iou.value == pytest.approx(generalized_iou(queries))
    assert record.referring.cumulative_iou.value == pytest.approx(cumulative_iou(queries))


def test_presence_counts_each_slice_once_and_labelled_organs_only(record):
    presence = record.presence
    assert presence.count == 3 * 2 * 3
    probabilities = [0.95, 0.4, 0.1, 0.95, 0.6, 0.1, 0.95, 0.8, 0.1]
    truths = [1, 1, 0] * 3
    assert presence.auc == pytest.approx(roc_auc_score(truths, probabilities))
    assert presence.brier == pytest.approx(
        mean([(p - t) ** 2 for p, t in zip(probabilities, truths, strict=True)])
    )
    assert presence.auc_per_organ == (None,) * 13


def test_presence_of_a_slice_is_the_mean_over_its_questions_for_organs(make_case):
    def asked(kind_of_answer, presence, **sample):
        vector = np.full(13, presence)
        return score_case(make_case(kind_of_answer, presence=vector, labelled={1, 3}, **sample))

    liver = (1, "segmented", disk(12, 10, 5))
    cases = (
        asked(liver, 0.9),
        asked((3, "absent_in_image", None), 0.5, asked=(3,)),
        asked((14, "out_of_scope", None), 0.1, asked=()),
        asked(liver, 0.2, slice_index=1),
    )
    presence = summarize(
        Evaluation(cases, ()), model="m", dataset="d", provenance={}, resamples=10
    ).presence
    # Two slices of two labelled organs: liver there, spleen not; 0.7 is the mean of 0.9 and 0.5.
    assert presence.count == 4
    assert presence.brier == pytest.approx(mean([0.3**2, 0.7**2, 0.8**2, 0.2**2]))


def test_organ_choice_is_told_apart_by_name_and_by_knowledge(make_case):
    liver, spleen = (1, "segmented", disk(12, 10, 5)), (3, "absent_in_image", None)
    cases = tuple(
        score_case(make_case(entry, kind=kind))
        for entry, kind in (
            (liver, "name"),
            (liver, "latin"),
            (liver, "function"),
            (spleen, "disease"),
            (spleen, "typo"),
            (spleen, "pair"),
        )
    )
    answers = summarize(Evaluation(cases, ()), model="m", dataset="d", provenance={}).answers
    assert answers.choice_by_name.value == pytest.approx(2 / 3)
    assert answers.choice_by_name.count == 3
    assert (answers.choice_by_knowledge.value, answers.choice_by_knowledge.count) == (0.5, 2)
    assert answers.organ_choice.count == 6


def test_strict_absence_counts_only_what_was_called_absent(make_case):
    cases = tuple(
        score_case(make_case(entry, asked=(3,)))
        for entry in (
            (3, "absent_in_image", None),
            (14, "out_of_scope", None),
            (1, "absent_in_image", None),
            (1, "segmented", disk(12, 10, 5)),
        )
    )
    rejection = summarize(Evaluation(cases, ()), model="m", dataset="d", provenance={}).rejection
    assert rejection.absence_n_acc.value == pytest.approx(3 / 4)
    assert rejection.absence_n_acc_strict.value == pytest.approx(1 / 4)


def test_intervals_hold_their_value_and_come_from_patients(make_case):
    cases = tuple(
        score_case(make_case((1, "segmented", disk(12, 10 + number % 4, 5)), patient=str(number)))
        for number in range(9)
    )
    record = summarize(Evaluation(cases, ()), model="m", dataset="d", provenance={}, resamples=300)
    interval = record.organs[0].dice_present
    assert interval.patients == 9
    assert interval.low <= interval.value <= interval.high
    assert interval.low < interval.high


def test_baselines_stand_beside_with_all_organs(record):
    (row,) = record.baselines
    assert row.name == "oracle box"
    assert row.mean == record.mean.dice_present
    assert row.dice_present[0] == record.organs[0].dice_present


def test_nothing_evaluated_gives_a_record_of_nothing():
    empty = summarize(Evaluation((), ()), model="m", dataset="d", provenance={})
    assert empty.questions == 0
    assert empty.mean.dice_present.value is None
    assert empty.presence.auc is None
