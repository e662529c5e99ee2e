"""The glossary: terms with their organs, templates with their slots, nothing of the exam."""

from __future__ import annotations

import json
import random

import pytest

from organseg.data.questions import Question, QuestionKind, Split, load_questions
from organseg.data.questions.glossary import GLOSSARY_FILE, load_glossary
from organseg.data.questions.near_copies import fold, near_copies
from organseg.errors import DatasetError
from organseg.organs import ORGANS

GLOSSARY = load_glossary()


def spoiled(tmp_path, **changes):
    content = {**json.loads(GLOSSARY_FILE.read_text(encoding="utf-8")), **changes}
    path = tmp_path / "glossary.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_every_organ_has_many_terms_and_no_term_two_topics():
    for organ in ORGANS:
        assert len(GLOSSARY.terms[(organ.id,)]) >= 150, organ.name
    assert len(GLOSSARY.terms[()]) >= 300
    topics: dict[str, set[tuple[int, ...]]] = {}
    for topic, terms in GLOSSARY.terms.items():
        for term in terms:
            topics.setdefault(fold(term), set()).add(topic)
    assert not [term for term, found in topics.items() if len(found) > 1]


def test_no_term_or_sentence_is_a_near_copy_of_a_held_out_question():
    texts = [term for terms in GLOSSARY.terms.values() for term in terms]
    texts += GLOSSARY.sentences
    own = [Question(text, (1,), QuestionKind.NAME, text, Split.TRAIN) for text in texts]
    # Looked for the other way round: a held-out question is longer than a term.
    copies = near_copies(load_questions(Split.HELD_OUT), own)
    assert not [(copy.held_out.text, copy.train.text) for copy in copies]


def test_the_same_chance_composes_the_same_and_asks_for_what_its_terms_point_to():
    made = [GLOSSARY.compose(random.Random(seed)) for seed in range(400)]
    assert made == [GLOSSARY.compose(random.Random(seed)) for seed in range(400)]
    assert {organ.id for organ in ORGANS} <= {i for each in made for i in each.organ_ids}
    assert sum(not each.organ_ids for each in made) > 20
    for each in made:
        assert "{" not in each.text
        pointed = [
            topic
            for topic, terms in GLOSSARY.terms.items()
            if any(term in each.text for term in terms)
        ]
        assert each.organ_ids in {
            tuple(sorted({*one, *other})) for one in pointed for other in pointed
        }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"templates": ["Where is it?"]}, "{term}"),
        ({"templates_two": ["{a} and {a}"]}, "{b}"),
        ({"terms": {"heart": ["beats"], "out_of_scope": ["x"], "liver": ["y"]}}, "'heart'"),
        ({"terms": {"liver": ["y"]}}, "out_of_scope"),
        ({"more": []}, "README"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said.replace("{", r"\{")):
        load_glossary(spoiled(tmp_path, **changes))


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "glossary.json").write_text("not JSON")
    with pytest.raises(DatasetError, match=r"glossary\.json"):
        load_glossary(tmp_path / "glossary.json")
