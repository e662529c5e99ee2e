from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from organseg.data.flare22 import LabelledVolume
from organseg.data.questions import Split, load_questions
from organseg.evaluation.questionnaire import (
    PROPORTIONS,
    QuestionChoice,
    Questionnaire,
    choose_questions,
)
from organseg.organs import ORGANS

ALL = frozenset(organ.id for organ in ORGANS)
HELD_OUT = {question.text for question in load_questions(Split.HELD_OUT)}


def volume_of(shown_by_slice, labelled=ALL, patient="a"):
    labels = np.zeros((len(shown_by_slice), 8, 16), dtype=np.uint8)
    for plane, shown in zip(labels, shown_by_slice, strict=True):
        for organ_id in shown:
            plane[2:6, organ_id] = organ_id
    pixels = np.full(labels.shape, 90, dtype=np.uint8)
    return LabelledVolume(patient, pixels, labels, (5.0, 1.0, 1.0), frozenset(labelled))


ABDOMEN = volume_of([(), *([range(1, 8)] * 6), *([range(5, 14)] * 6), ()])


def verdict_of(item, volume):
    asked = item.question.organ_ids
    if not asked:
        return "out of scope"
    shown = set(np.unique(volume.labels[item.slice_index]).tolist())
    return "segmented" if shown & set(asked) else "absent"


def test_sampled_questions_come_in_the_stated_proportions():
    put = Questionnaire(slices_per_organ=4).put_to(ABDOMEN)
    verdicts = Counter(verdict_of(item, ABDOMEN) for item in put)
    for verdict, share in (
        ("segmented", PROPORTIONS.segmented),
        ("absent", PROPORTIONS.absent_in_image),
        ("out of scope", PROPORTIONS.out_of_scope),
    ):
        assert verdicts[verdict] == pytest.approx(share * len(put), abs=1)
    several = sum(len(item.question.organ_ids) > 1 for item in put)
    in_scope = sum(item.question.in_scope for item in put)
    assert several == pytest.approx(PROPORTIONS.several * in_scope, abs=2)


@pytest.mark.parametrize("slices_per_organ", [1, 3])
def test_each_organ_gets_its_slices_and_a_question_for_it_alone(slices_per_organ):
    put = Questionnaire(slices_per_organ=slices_per_organ).put_to(ABDOMEN)
    for organ in ORGANS:
        slices = {
            item.slice_index
            for item in put
            if item.question.organ_ids == (organ.id,) and verdict_of(item, ABDOMEN) == "segmented"
        }
        assert len(slices) == slices_per_organ


@pytest.mark.parametrize("slices_per_organ", [2, None])
def test_no_question_asks_for_an_organ_that_is_not_labelled(slices_per_organ):
    volume = volume_of([(1, 2, 13), (1, 3), ()], labelled={1, 2, 3})
    put = Questionnaire(slices_per_organ=slices_per_organ).put_to(volume)
    assert {organ_id for item in put for organ_id in item.question.organ_ids} == {1, 2, 3}


def test_every_slice_mode_asks_for_each_organ_in_each_slice_once_alone():
    put = Questionnaire(slices_per_organ=None).put_to(ABDOMEN)
    alone = Counter(
        (item.slice_index, item.question.organ_ids)
        for item in put
        if len(item.question.organ_ids) == 1
    )
    assert len(alone) == len(ABDOMEN.labels) * len(ORGANS)
    assert set(alone.values()) == {1}
    out_of_scope = [item.slice_index for item in put if not item.question.in_scope]
    assert out_of_scope == list(range(len(ABDOMEN.labels)))


def test_a_scan_without_organs_is_asked_about_absent_ones_and_out_of_scope():
    blank = volume_of([(), (), ()])
    verdicts = Counter(verdict_of(item, blank) for item in Questionnaire().put_to(blank))
    assert set(verdicts) == {"absent", "out of scope"}


def test_questions_come_slice_by_slice_and_the_same_for_the_same_seed():
    put = Questionnaire(seed=5).put_to(ABDOMEN)
    assert [item.slice_index for item in put] == sorted(item.slice_index for item in put)
    assert put == Questionnaire(seed=5).put_to(ABDOMEN)
    assert put != Questionnaire(seed=6).put_to(ABDOMEN)


def test_two_patients_are_asked_other_questions():
    texts = [
        [item.question.text for item in Questionnaire().put_to(volume_of([ALL] * 9, patient=name))]
        for name in "ab"
    ]
    assert texts[0] != texts[1]


def test_no_question_comes_twice_as_long_as_there_are_others():
    put = Questionnaire(slices_per_organ=4).put_to(ABDOMEN)
    texts = [item.question.text for item in put if len(item.question.organ_ids) < 2]
    assert len(set(texts)) == len(texts)


def test_held_out_questions_are_held_out_and_training_ones_are_not():
    assert {question.text for question in choose_questions(QuestionChoice.HELD_OUT)} == HELD_OUT
    train = choose_questions(QuestionChoice.TRAIN)
    assert all(question.split is Split.TRAIN for question in train)
    assert HELD_OUT.isdisjoint(question.text for question in train)


def test_names_are_asked_as_they_are_without_typos():
    put = Questionnaire(QuestionChoice.NAMES).put_to(ABDOMEN)
    for item in put:
        names = [organ.name for organ in ORGANS if organ.id in item.question.organ_ids]
        if names:
            assert item.question.text == "Segment the " + " and the ".join(names)
        else:
            assert item.question.text in HELD_OUT
