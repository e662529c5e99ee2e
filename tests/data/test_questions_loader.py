"""The loader: the layout of a question file, and the message for every fault in one."""

from __future__ import annotations

import json

import pytest

from organseg.data.questions import BUILT_IN_FOLDER, QuestionKind, Split, load_questions
from organseg.errors import DatasetError

FACT = {
    "organs": ["gallbladder"],
    "kind": "function",
    "fact": "The gallbladder stores bile.",
    "questions": ["Tell me the keeper of the bile."],
}


def write(folder, *facts, split="train", stated=None, name="mine.json"):
    content = {
        "description": "Mine.",
        "source": "me",
        "licence": "CC0-1.0",
        "split": stated or split,
        "facts": list(facts),
    }
    (folder / split).mkdir(exist_ok=True)
    (folder / split / name).write_text(json.dumps(content), encoding="utf-8")


def test_a_file_of_the_users_own_widens_the_set(tmp_path):
    write(tmp_path, FACT)
    built_in = load_questions(Split.TRAIN)
    widened = load_questions(Split.TRAIN, folders=(BUILT_IN_FOLDER, tmp_path))
    assert widened[: len(built_in)] == built_in
    (added,) = widened[len(built_in) :]
    assert added.organ_ids == (9,)
    assert added.kind is QuestionKind.FUNCTION
    assert added.fact == "The gallbladder stores bile."


def test_organs_come_in_the_order_of_their_ids(tmp_path):
    write(tmp_path, {**FACT, "organs": ["left kidney", "liver"], "kind": "pair"})
    (question,) = load_questions(Split.TRAIN, folders=(tmp_path,))
    assert question.organ_ids == (1, 13)


def test_a_folder_without_the_split_adds_nothing(tmp_path):
    write(tmp_path, FACT)
    assert load_questions(Split.HELD_OUT, folders=(tmp_path,)) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"organs": ["gall bladder"]}, "canonical organ names"),
        ({"organs": ["none"]}, "no organ 'none'"),
        ({"organs": ["liver", "liver"], "kind": "pair"}, "each organ once"),
        ({"organs": "gallbladder"}, "list of texts"),
        ({"kind": "riddle"}, "wanted a kind"),
        ({"kind": "pair"}, "fit the kind 'pair'"),
        ({"kind": "chit_chat"}, "fit the kind 'chit_chat'"),
        ({"organs": ["liver", "spleen"]}, "fit the kind 'function'"),
        ({"organs": []}, "fit the kind 'function'"),
        ({"fact": ""}, "a fact in words"),
        ({"questions": []}, "at least one question"),
        ({"questions": [" blanks "]}, "without blanks"),
        ({"questions": [3]}, "list of texts"),
        ({"extra": 1}, "wanted the fields"),
        ({"questions": ["Where?", "where?"]}, "once in a split"),
    ],
)
def test_each_fault_in_a_fact_is_named(tmp_path, change, message):
    write(tmp_path, {**FACT, **change})
    with pytest.raises(DatasetError, match=message):
        load_questions(Split.TRAIN, folders=(tmp_path,))


def test_a_file_in_the_folder_of_the_other_split_is_refused(tmp_path):
    write(tmp_path, FACT, stated="held_out")
    with pytest.raises(DatasetError, match=r"wanted split 'train' in train/mine\.json"):
        load_questions(Split.TRAIN, folders=(tmp_path,))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b'"text"'])
def test_a_file_that_is_no_question_file_is_refused(tmp_path, content):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "broken.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"train/broken\.json"):
        load_questions(Split.TRAIN, folders=(tmp_path,))


def test_the_same_text_in_two_files_is_refused(tmp_path):
    write(tmp_path, FACT)
    write(tmp_path, FACT, name="other.json")
    with pytest.raises(DatasetError, match="once in a split"):
        load_questions(Split.TRAIN, folders=(tmp_path,))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="wanted a folder"):
        load_questions(Split.TRAIN, folders=(tmp_path / "nowhere",))


def test_loading_twice_gives_the_same():
    assert load_questions(Split.HELD_OUT) == load_questions(Split.HELD_OUT)
