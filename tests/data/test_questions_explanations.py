"""Explanations: every organ has some for every verdict, and what is said fits what was asked."""

from __future__ import annotations

import json
import random

import pytest

from organseg.contract.verdicts import Verdict
from organseg.data.questions.explanations import EXPLANATIONS_FILE, load_explanations
from organseg.errors import DatasetError
from organseg.organs import ORGANS

EXPLANATIONS = load_explanations()


def chosen(question, organ_ids=(), verdicts=(), draws=20):
    return {
        EXPLANATIONS.choose(question, organ_ids, verdicts, random.Random(seed))
        for seed in range(draws)
    }


@pytest.mark.parametrize("organ", ORGANS, ids=lambda organ: organ.key)
def test_every_organ_has_several_for_each_verdict(organ):
    assert len(EXPLANATIONS.organs[organ.id, Verdict.SEGMENTED]) >= 10
    assert len(EXPLANATIONS.organs[organ.id, Verdict.ABSENT_IN_IMAGE]) >= 5


def test_an_absent_organ_is_explained_by_other_words_than_a_shown_one():
    shown = chosen("the spleen", (3,), (Verdict.SEGMENTED,))
    absent = chosen("the spleen", (3,), (Verdict.ABSENT_IN_IMAGE,))
    assert len(shown) > 1
    assert shown.isdisjoint(absent)


def test_what_a_question_out_of_scope_is_about_is_named_where_it_is_known():
    assert all("bladder" in text for text in chosen("Where is the BLADDER?"))
    general = chosen("Colourless green ideas?")
    assert len(general) > 1
    assert not any("bladder" in text for text in general)


def test_several_organs_are_all_named():
    said = chosen("both", (2, 5, 13), (Verdict.SEGMENTED,) * 3)
    assert all("the right kidney, the aorta and the left kidney" in text for text in said)


def test_texts_are_one_line_and_short():
    texts = [text for own in EXPLANATIONS.organs.values() for text in own]
    texts += [each.text for each in EXPLANATIONS.none]
    assert len(texts) == len(set(texts))
    assert all("\n" not in text and len(text.split()) <= 40 for text in texts)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"organs": {}}, "every organ"),
        ({"several": ["no organ"]}, "{organs}"),
        ({"none": [{"about": ["bladder"], "text": "No."}]}, "any question"),
    ],
)
def test_a_file_that_lacks_something_is_refused_by_name(tmp_path, changes, wanted):
    content = {**json.loads(EXPLANATIONS_FILE.read_text(encoding="utf-8")), **changes}
    path = tmp_path / "explanations.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=wanted):
        load_explanations(path)
