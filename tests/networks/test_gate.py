"""I_out: asked organs, verdicts and padding, by hand-made numbers."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.contract import PADDING, Verdict
from organseg.networks.gate import WHOLE_IMAGE_BOX, Thresholds, asked_organs, decide
from organseg.organs import NONE

BOXES = np.linspace(0.1, 0.9, 52, dtype=np.float32).reshape(13, 4)
PRESENT = np.full(13, 0.9, dtype=np.float32)


def similarity(organs: dict[int, float], irrelevant: float) -> np.ndarray:
    values = np.full(14, -0.5, dtype=np.float32)
    values[13] = irrelevant
    for organ_id, value in organs.items():
        values[organ_id - 1] = value
    return values


def gate(values: np.ndarray, presence: np.ndarray = PRESENT, *, blank: bool = False):
    return decide(values, presence, BOXES, image_is_blank=blank, thresholds=Thresholds())


def verdicts(decision) -> list[Verdict | None]:
    return [Verdict.from_code(c) if c != PADDING else None for c in decision.verdicts]


def test_the_nearest_organ_is_asked_for():
    decision = gate(similarity({9: 0.6, 1: 0.5}, 0.2))
    assert decision.organs.tolist() == [9]
    assert verdicts(decision) == [Verdict.SEGMENTED]
    np.testing.assert_array_equal(decision.prompt_boxes[0], BOXES[8])


def test_a_question_nearest_to_something_irrelevant_is_out_of_scope():
    decision = gate(similarity({9: 0.3}, 0.4))
    assert decision.organs.tolist() == [NONE.id]
    assert verdicts(decision) == [Verdict.OUT_OF_SCOPE]
    np.testing.assert_allclose(decision.prompt_boxes[0], WHOLE_IMAGE_BOX)


def test_an_organ_that_is_not_there_is_absent():
    presence = PRESENT.copy()
    presence[8] = 0.49
    decision = gate(similarity({9: 0.6}, 0.2), presence)
    assert verdicts(decision) == [Verdict.ABSENT_IN_IMAGE]
    np.testing.assert_allclose(decision.prompt_boxes[0], WHOLE_IMAGE_BOX)


def test_a_blank_image_shows_no_organ_but_scope_is_still_told():
    decision = gate(similarity({9: 0.6}, 0.2), blank=True)
    assert verdicts(decision) == [Verdict.ABSENT_IN_IMAGE]
    assert not decision.organ_presence.any()
    assert verdicts(gate(similarity({9: 0.1}, 0.2), blank=True)) == [Verdict.OUT_OF_SCOPE]


def test_organs_nearly_as_near_are_asked_for_too_and_padded_to_four():
    decision = gate(similarity({2: 0.60, 13: 0.59, 5: 0.585, 1: 0.4}, 0.2))
    assert decision.organs.tolist() == [2, 5, 13, PADDING]
    assert verdicts(decision) == [Verdict.SEGMENTED] * 3 + [None]
    np.testing.assert_allclose(decision.prompt_boxes[3], WHOLE_IMAGE_BOX)


@pytest.mark.parametrize(("asked", "padded"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 13), (13, 13)])
def test_the_number_of_prompts_is_one_of_few(asked, padded):
    decision = gate(similarity(dict.fromkeys(range(1, asked + 1), 0.6), 0.1))
    assert len(decision.organs) == len(decision.verdicts) == len(decision.prompt_boxes) == padded
    assert int((decision.organs != PADDING).sum()) == asked


def test_the_rejection_margin_asks_for_more_than_the_papers_argmax():
    values = similarity({9: 0.45}, 0.40)
    assert asked_organs(values, Thresholds(rejection_margin=0.0)) == [9]
    assert asked_organs(values, Thresholds(rejection_margin=0.1)) == []


def test_each_organ_has_its_own_presence_threshold():
    strict = (0.5,) * 8 + (0.95,) + (0.5,) * 4
    decision = decide(
        similarity({9: 0.6, 10: 0.6}, 0.1),
        PRESENT,
        BOXES,
        image_is_blank=False,
        thresholds=Thresholds(presence=strict),
    )
    assert verdicts(decision) == [Verdict.ABSENT_IN_IMAGE, Verdict.SEGMENTED]
