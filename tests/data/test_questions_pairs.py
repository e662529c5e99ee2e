"""Pairs and typos: right answers, stated proportions, the same samples for the same seed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from organseg.contract.verdicts import Verdict
from organseg.data.questions import (
    Proportions,
    Question,
    QuestionKind,
    SliceOrgans,
    Split,
    answer,
    load_questions,
    make_pairs,
    with_typos,
)
from organseg.data.questions.near_copies import fold
from organseg.networks.wording import OPTION_TEXTS

QUESTIONS = load_questions(Split.TRAIN)
UPPER = SliceOrgans("upper", frozenset({1, 3, 5, 6, 10, 11}))
MIDDLE = SliceOrgans("middle", frozenset({1, 2, 3, 4, 5, 6, 9, 12, 13}))
PELVIS = SliceOrgans("pelvis", frozenset())
SLICES = [
    replace(image, image_id=f"{image.image_id}{n}") for n in range(50) for image in (UPPER, MIDDLE)
]


def ask(*organ_ids):
    return Question("Where?", organ_ids, QuestionKind.NAME, "A fact.", Split.TRAIN)


def test_the_options_are_the_thirteen_organs_and_none_of_them():
    assert OPTION_TEXTS[0] == "liver"
    assert OPTION_TEXTS[12] == "left kidney"
    assert OPTION_TEXTS[13] == "none of them"
    assert len(OPTION_TEXTS) == 14


def test_an_organ_that_the_slice_shows_is_segmented():
    sample = answer(UPPER, ask(3))
    assert sample.image_id == "upper"
    assert sample.answer_letters == ("C",)
    assert sample.organ_names == ("spleen",)
    assert sample.verdicts == (Verdict.SEGMENTED,)
    assert sample.mask_organ_ids == (3,)


def test_an_organ_that_the_slice_lacks_keeps_its_letter_but_has_a_blank_mask():
    sample = answer(UPPER, ask(9))
    assert sample.answer_letters == ("I",)
    assert sample.verdict is Verdict.ABSENT_IN_IMAGE
    assert sample.mask_organ_ids == ()


def test_an_out_of_scope_question_is_answered_n():
    sample = answer(UPPER, ask())
    assert sample.answer_letters == ("N",)
    assert sample.organ_names == ("none",)
    assert sample.verdicts == (Verdict.OUT_OF_SCOPE,)
    assert sample.mask_organ_ids == ()


def test_several_organs_each_get_their_own_verdict():
    sample = answer(UPPER, ask(2, 5, 13))
    assert sample.answer_letters == ("B", "E", "M")
    assert sample.verdicts == (
        Verdict.ABSENT_IN_IMAGE,
        Verdict.SEGMENTED,
        Verdict.ABSENT_IN_IMAGE,
    )
    assert sample.verdict is Verdict.SEGMENTED
    assert sample.mask_organ_ids == (5,)


def test_the_proportions_are_kept_to_the_sample():
    wanted = Proportions(segmented=0.5, absent_in_image=0.3, out_of_scope=0.2)
    samples = list(make_pairs(SLICES, QUESTIONS, seed=1, pairs_per_slice=4, proportions=wanted))
    assert Counter(sample.verdict for sample in samples) == {
        Verdict.SEGMENTED: 200,
        Verdict.ABSENT_IN_IMAGE: 120,
        Verdict.OUT_OF_SCOPE: 80,
    }
    assert Counter(sample.image_id for sample in samples) == {image.image_id: 4 for image in SLICES}


def test_shares_of_several_organs_and_of_typos_are_near_the_wanted():
    wanted = Proportions(several=0.4, typos=0.25)
    samples = list(make_pairs(SLICES * 20, QUESTIONS, seed=2, proportions=wanted))
    asked = [sample for sample in samples if sample.question.in_scope]
    several = sum(len(sample.question.organ_ids) > 1 for sample in asked) / len(asked)
    unchanged = {question.text for question in QUESTIONS}
    mistyped = sum(sample.question.text not in unchanged for sample in samples) / len(samples)
    # Three binomial standard deviations of 6400 draws are below 0.02.
    assert several == pytest.approx(0.4, abs=0.02)
    assert mistyped == pytest.approx(0.25, abs=0.02)


def test_every_sample_is_the_right_answer_to_its_slice():
    shown = {image.image_id: image.organ_ids for image in SLICES}
    for sample in make_pairs(SLICES, QUESTIONS, seed=3):
        present = shown[sample.image_id]
        assert set(sample.mask_organ_ids) == set(sample.question.organ_ids) & present
        assert (sample.verdict is Verdict.SEGMENTED) == bool(sample.mask_organ_ids)
        assert (sample.answer_letters == ("N",)) == (not sample.question.in_scope)


def test_small_organs_are_asked_for_as_often_as_large_ones():
    only = Proportions(segmented=1.0, absent_in_image=0.0, out_of_scope=0.0, several=0.0)
    samples = make_pairs(SLICES, QUESTIONS, seed=4, proportions=only)
    counts = Counter(sample.question.organ_ids[0] for sample in samples)
    assert set(counts) == UPPER.organ_ids | MIDDLE.organ_ids
    assert max(counts.values()) <= 1.5 * min(counts.values())


def test_slices_without_organs_give_absence_and_out_of_scope_only():
    samples = list(make_pairs([PELVIS] * 20, QUESTIONS, seed=5))
    assert {sample.verdict for sample in samples} == {
        Verdict.ABSENT_IN_IMAGE,
        Verdict.OUT_OF_SCOPE,
    }


def test_slices_with_every_organ_give_no_absence():
    full = SliceOrgans("full", frozenset(range(1, 14)))
    verdicts = {sample.verdict for sample in make_pairs([full] * 20, QUESTIONS, seed=6)}
    assert verdicts == {Verdict.SEGMENTED, Verdict.OUT_OF_SCOPE}


def test_the_same_seed_gives_the_same_samples_and_another_seed_others():
    first = list(make_pairs(SLICES, QUESTIONS, seed=7))
    assert list(make_pairs(SLICES, QUESTIONS, seed=7)) == first
    assert list(make_pairs(SLICES, QUESTIONS, seed=8)) != first


def test_a_sample_survives_a_json_line():
    (sample,) = make_pairs([MIDDLE], QUESTIONS, seed=9, pairs_per_slice=1)
    record = json.loads(json.dumps(sample.as_record()))
    assert record["image_id"] == "middle"
    assert record["question"] == sample.question.text
    assert record["verdicts"] == [verdict.value for verdict in sample.verdicts]
    assert len(record["options"]) == 14


def test_a_record_holds_the_prompt_that_the_model_is_asked():
    record = answer(UPPER, ask(3)).as_record()
    assert record["prompt"] == (
        "[INST] <image>\nThis is one axial slice of an abdominal scan. Which of these organs does "
        "the question ask for? A. liver B. right kidney C. spleen D. pancreas E. aorta "
        "F. inferior vena cava G. right adrenal gland H. left adrenal gland I. gallbladder "
        "J. esophagus K. stomach L. duodenum M. left kidney N. none of them\n"
        "Question: Where? [/INST]"
    )
    assert record["answer_letters"] == ["C"]


def test_the_prompt_wording_needs_no_torch():
    program = (
        "import sys, organseg.data.questions, organseg.networks.wording; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "shares",
    [{"segmented": 0.9}, {"segmented": 1.2, "out_of_scope": -0.4}, {"typos": 1.5}],
)
def test_proportions_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValueError, match="wanted"):
        Proportions(**shares)


def test_arguments_that_cannot_give_samples_are_refused():
    with pytest.raises(ValueError, match="one pair per slice"):
        make_pairs(SLICES, QUESTIONS, seed=0, pairs_per_slice=0)
    with pytest.raises(ValueError, match="organ ids 1 to 13"):
        make_pairs([SliceOrgans("odd", frozenset({14}))], QUESTIONS, seed=0)
    with pytest.raises(ValueError, match="none for liver"):
        make_pairs(SLICES, [ask(organ_id) for organ_id in range(2, 14)], seed=0)
    with pytest.raises(ValueError, match="none for out of scope"):
        make_pairs(SLICES, [ask(organ_id) for organ_id in range(1, 14)], seed=0)


def test_typos_keep_the_organs_and_the_fact_and_change_the_text():
    for question in QUESTIONS[:300]:
        mistyped = with_typos(question, seed=1)
        assert mistyped.kind is QuestionKind.TYPO
        assert (mistyped.organ_ids, mistyped.fact) == (question.organ_ids, question.fact)
        assert abs(len(mistyped.text) - len(question.text)) <= 2


def test_one_slip_is_always_seen():
    # Two slips may undo one another, one never can.
    changed = [with_typos(q, seed).text != q.text for q in QUESTIONS[:200] for seed in range(3)]
    assert sum(changed) / len(changed) > 0.99


def test_typos_are_the_same_for_the_same_seed():
    question = QUESTIONS[0]
    assert with_typos(question, 5) == with_typos(question, 5)
    assert len({with_typos(question, seed).text for seed in range(20)}) > 10
    # Pinned, so that a new release or another machine makes the same training set.
    assert with_typos(ask(9), 5).text == "Wheee?"


def test_typos_leave_short_abbreviations_alone():
    question = replace(ask(9), text="GB or IVC?")
    assert {with_typos(question, seed).text for seed in range(20)} == {"GB or IVC?"}


def test_a_typo_never_turns_one_side_into_the_other():
    question = replace(ask(2), text="the right kidney")
    for seed in range(200):
        assert "left" not in fold(with_typos(question, seed).text)
