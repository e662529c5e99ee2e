from __future__ import annotations

import numpy as np
import pytest
from evaluation_shapes import SPACING_ZYX_MM, disk, labels_of

from organseg.evaluation.cases import Verdict
from organseg.evaluation.overlap import dice_empty_aware
from organseg.evaluation.scores import score_case
from organseg.evaluation.surface import surface_dice

LIVER = disk(12, 10, 5)


def test_a_perfect_answer_scores_one_everywhere(make_case):
    scores = score_case(make_case((1, "segmented", LIVER)))
    (organ,) = scores.organs
    assert (organ.counts.dice, organ.counts.iou, organ.box_iou, organ.surface_dice) == (1, 1, 1, 1)
    assert (organ.rejected, scores.rejected, scores.query.iou) == (False, False, 1.0)


def test_a_shifted_answer_scores_as_the_metrics_say(make_case):
    drawn = disk(13, 14, 4)
    (organ,) = score_case(make_case((1, "segmented", drawn))).organs
    assert organ.counts.dice == dice_empty_aware(LIVER, drawn)
    assert organ.surface_dice == surface_dice(LIVER, drawn, SPACING_ZYX_MM[1:], 5.0)
    # Truth spans x 5..16, y 7..18 (edges), the drawn disk x 10..19, y 9..18.
    assert organ.box_iou == pytest.approx((6 * 9) / (11 * 11 + 9 * 9 - 6 * 9))


def test_the_right_pixels_under_a_wrong_name_count_by_query_but_not_by_name(make_case):
    scores = score_case(make_case((3, "segmented", LIVER)))
    (organ,) = scores.organs
    assert organ.counts.dice == 0.0
    assert organ.predicted_verdict is None
    assert not organ.rejected
    assert scores.query.iou == 1.0


def test_a_false_positive_on_an_absent_organ_costs_the_empty_aware_dice(make_case):
    (organ,) = score_case(make_case((3, "segmented", LIVER), asked=(3,))).organs
    assert organ.truth_verdict is Verdict.ABSENT_IN_IMAGE
    assert not organ.present
    assert organ.counts.dice == 0.0
    assert (organ.surface_dice, organ.box_iou) == (None, None)


def test_a_rightly_blank_answer_scores_one(make_case):
    (organ,) = score_case(make_case((3, "absent_in_image", None), asked=(3,))).organs
    assert organ.counts.dice == 1.0
    assert organ.rejected


def test_a_missed_organ_scores_zero_with_no_box(make_case):
    (organ,) = score_case(make_case((14, "out_of_scope", None))).organs
    assert (organ.counts.dice, organ.surface_dice, organ.box_iou) == (0.0, 0.0, 0.0)
    assert organ.predicted_verdict is Verdict.OUT_OF_SCOPE
    assert organ.rejected


def test_an_out_of_scope_question_has_no_organ_but_a_query_score(make_case):
    refused = score_case(make_case((14, "out_of_scope", None), asked=()))
    drawn = score_case(make_case((1, "segmented", LIVER), asked=()))
    assert refused.organs == drawn.organs == ()
    assert refused.out_of_scope
    assert (refused.rejected, refused.query.iou) == (True, 1.0)
    assert (drawn.rejected, drawn.query.iou) == (False, 0.0)


def test_organs_of_one_query_are_scored_one_by_one_and_together(make_case):
    right, left = disk(8, 6, 3), disk(8, 24, 3)
    case = make_case(
        (13, "segmented", left),
        (2, "absent_in_image", None),
        asked=(2, 13),
        labels=labels_of((2, right), (13, left)),
    )
    scores = score_case(case)
    assert [(organ.organ_id, organ.counts.dice) for organ in scores.organs] == [(2, 0.0), (13, 1.0)]
    assert [organ.rejected for organ in scores.organs] == [True, False]
    assert scores.query.iou == pytest.approx(0.5)


def test_the_scope_margin_is_none_against_the_best_organ(make_case):
    similarity = [*np.linspace(0.0, 0.6, 13).tolist(), 0.9]
    scores = score_case(make_case((14, "out_of_scope", None), similarity=similarity))
    assert scores.scope_margin == pytest.approx(0.3)
    assert score_case(make_case((14, "out_of_scope", None))).scope_margin is None


def test_presence_is_kept_for_labelled_organs(make_case):
    presence = np.arange(13) / 20
    case = make_case((1, "segmented", LIVER), presence=presence, labelled={1, 5})
    assert score_case(case).presence == ((1, 0.0, True), (5, pytest.approx(0.2), False))


def test_another_organ_drawn_for_an_absent_one_is_a_false_positive(make_case):
    scores = score_case(make_case((1, "segmented", LIVER), asked=(5,)))
    (aorta,) = scores.organs
    assert not aorta.present
    assert aorta.counts.dice == 0.0
    assert aorta.counts.predicted == LIVER.sum()
    assert not aorta.rejected
    assert aorta.predicted_verdict is None


def test_what_was_drawn_for_an_asked_organ_is_no_offer_for_the_absent_one_beside_it(make_case):
    scores = score_case(make_case((1, "segmented", LIVER), asked=(1, 9)))
    liver, gallbladder = scores.organs
    assert (liver.counts.dice, liver.rejected) == (1.0, False)
    assert (gallbladder.counts.dice, gallbladder.rejected) == (1.0, True)


def test_an_absent_organ_answered_with_another_called_absent_was_offered_nothing(make_case):
    (aorta,) = score_case(make_case((3, "absent_in_image", None), asked=(5,))).organs
    assert (aorta.counts.dice, aorta.rejected) == (1.0, True)


def test_a_present_organ_answered_with_another_is_still_scored_by_name(make_case):
    (liver,) = score_case(make_case((3, "segmented", LIVER))).organs
    assert (liver.counts.predicted, liver.counts.dice, liver.rejected) == (0, 0.0, False)
