"""The phrases: names and clues with their organs, sentences, nothing of the exam."""

from __future__ import annotations

import json
import random
import re

import pytest

from organseg.data.questions import Question, QuestionKind, Split, load_questions
from organseg.data.questions.checks import KNOWLEDGE_KINDS
from organseg.data.questions.near_copies import fold, near_copies, template_of
from organseg.data.questions.phrases import PHRASES_FILE, load_phrases
from organseg.errors import DatasetError
from organseg.organs import ORGANS

PHRASES = load_phrases()
HELD_OUT = load_questions(Split.HELD_OUT)


def as_question(text):
    return Question(text, (1,), QuestionKind.NAME, text, Split.TRAIN)


def spoiled(tmp_path, **changes):
    content = {**json.loads(PHRASES_FILE.read_text(encoding="utf-8")), **changes}
    path = tmp_path / "phrases.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_every_organ_has_many_names_and_clues_and_no_phrase_two_topics():
    for organ in ORGANS:
        assert len(PHRASES.names[(organ.id,)]) >= 40, organ.name
        assert len(PHRASES.clues[(organ.id,)]) >= 200, organ.name
    assert len(PHRASES.names[()]) >= 1500
    assert len(PHRASES.clues[()]) >= 1500
    for kind in (PHRASES.names, PHRASES.clues):
        topics: dict[str, set[tuple[int, ...]]] = {}
        for topic, texts in kind.items():
            for text in texts:
                topics.setdefault(fold(text), set()).add(topic)
        assert not [text for text, found in topics.items() if len(found) > 1]


def test_no_clue_is_a_near_copy_of_a_held_out_question_or_fact():
    facts = {q.fact: q for q in HELD_OUT if q.kind in KNOWLEDGE_KINDS or not q.in_scope}
    exam = [*HELD_OUT, *(as_question(fact) for fact in facts)]
    clues = [clue for found in PHRASES.clues.values() for clue in found]
    asked = [as_question(text) for clue in clues for text in (clue, f"Which organ {clue}?")]
    copies = near_copies(asked, exam)
    assert not [(copy.held_out.text, copy.train.text) for copy in copies]


def test_no_sentence_is_one_that_held_out_questions_use():
    exam = {template_of(question.text) for question in HELD_OUT}
    for field, templates in PHRASES.templates.items():
        for template in templates:
            filled = template.format(name="liver", clue="it", a="liver", b="spleen", c="aorta")
            assert template_of(filled) not in exam, field


def test_the_same_chance_composes_the_same_and_every_number_of_organs():
    made = [PHRASES.compose(random.Random(seed)) for seed in range(600)]
    assert made == [PHRASES.compose(random.Random(seed)) for seed in range(600)]
    assert {organ.id for organ in ORGANS} <= {i for each in made for i in each.organ_ids}
    counts = {len(each.organ_ids) for each in made}
    assert {0, 1, 2, 3} <= counts
    assert all("{" not in each.text for each in made)


def test_a_question_for_one_topic_holds_a_phrase_of_it():
    for seed in range(300):
        made = PHRASES.compose(random.Random(seed), several=0.0)
        own = (*PHRASES.names.get(made.organ_ids, ()), *PHRASES.clues[made.organ_ids])
        assert any(phrase in made.text for phrase in own), made


def test_a_name_with_its_own_article_gets_no_second_one():
    texts = [PHRASES.compose(random.Random(seed)).text.casefold() for seed in range(4000)]
    assert any("both " in text for text in texts)
    assert not [text for text in texts if re.search(r"\bthe (both|the|a|an) ", text)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name_templates": ["Where is it?"]}, "{name}"),
        ({"templates_three": ["{a} and {b}"]}, "{c}"),
        ({"clues": {"heart": ["beats"], "out_of_scope": ["x"], "liver": ["y"]}}, "'heart'"),
        ({"names": {"liver": ["y"]}}, "out_of_scope"),
        ({"more": []}, "README"),
    ],
)
def test_a_fault_in_the_phrases_is_named(tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said.replace("{", r"\{")):
        load_phrases(spoiled(tmp_path, **changes))


def test_phrases_that_are_not_json_are_named(tmp_path):
    (tmp_path / "phrases.json").write_text("not JSON")
    with pytest.raises(DatasetError, match=r"phrases\.json"):
        load_phrases(tmp_path / "phrases.json")
