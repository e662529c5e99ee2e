"""What is taught: training questions alone, validation apart by fact, chance from the seed."""

from __future__ import annotations

import random

import numpy as np
import torch
from training_toys import few_questions, toy_bank

from organseg.data.questions import Question, QuestionKind
from organseg.data.questions import Split as QuestionSplit
from organseg.training import sentences
from organseg.training.sentences import QuestionBank, asked_answers, embed_once, made_up, vary

BILE = Question(
    "Which organ stores bile?", (9,), QuestionKind.FUNCTION, "It does.", QuestionSplit.TRAIN
)


def test_the_held_out_questions_are_never_read(tmp_path, monkeypatch):
    read = []

    def load(split):
        read.append(split)
        return few_questions()

    monkeypatch.setattr(sentences, "load_questions", load)
    monkeypatch.setattr(sentences, "embed", lambda texts: np.eye(len(texts), 384, dtype="f4"))
    QuestionBank(tmp_path, sentences=5)
    assert read == [QuestionSplit.TRAIN]


def test_no_fact_is_taught_and_chosen_by(tmp_path, monkeypatch):
    bank = toy_bank(tmp_path, monkeypatch)
    taught, apart = ({q.fact for q in part} for part in (bank.training, bank.validation))
    assert taught
    assert apart
    assert not taught & apart
    assert not apart & set(bank.sentences)


def test_the_same_chance_draws_the_same_texts_with_their_answers(tmp_path, monkeypatch):
    bank = toy_bank(tmp_path, monkeypatch)
    first, again = (
        bank.draw(60, np.random.default_rng(4), typos=0.2, distilled=0.3) for _ in range(2)
    )
    assert first.texts == again.texts
    assert torch.equal(first.vectors, again.vectors)
    unlabelled = ~first.asked.any(dim=-1)
    assert 8 <= int(unlabelled.sum()) <= 30
    assert {int(count) for count in first.asked.sum(dim=-1)} >= {0, 1}
    assert torch.allclose(first.vectors.norm(dim=-1), torch.ones(60), atol=1e-5)


def test_an_out_of_scope_question_asks_for_none():
    chat = Question("Hello!", (), QuestionKind.CHIT_CHAT, "It does.", QuestionSplit.TRAIN)
    assert asked_answers(chat).nonzero()[:, 0].tolist() == [13]
    assert asked_answers(BILE).nonzero()[:, 0].tolist() == [8]


def test_a_question_is_varied_without_losing_its_words():
    texts = {vary(BILE.text, random.Random(seed), 0.0) for seed in range(300)}
    assert all("which organ stores bile" in text.lower() for text in texts)
    assert {"Which organ stores bile?", "which organ stores bile"} <= texts
    assert any(text.startswith(sentences._OPENINGS) for text in texts)
    assert any(text.endswith(sentences._CLOSINGS) for text in texts)
    mistyped = {vary(BILE.text, random.Random(seed), 1.0) for seed in range(50)}
    assert len(mistyped) > 30


def test_few_are_at_most_that_many_spread_over_all(tmp_path, monkeypatch):
    bank = toy_bank(tmp_path, monkeypatch)
    count = len(bank.validation)
    assert bank.few(count) == bank.validation
    for wanted in (1, 3, count - 1):
        few = bank.few(wanted)
        assert 0 < len(few) <= wanted
        assert few[0] == bank.validation[0]


def test_composed_texts_have_their_answers_and_no_embedding(tmp_path, monkeypatch):
    bank = toy_bank(tmp_path, monkeypatch)
    drawn = bank.draw(40, np.random.default_rng(1), typos=0.0, composed=1.0)
    assert drawn.asked.any(dim=-1).all()
    assert not drawn.vectors.any()


def test_sentences_are_made_up_the_same_each_time_and_never_twice():
    assert made_up(50) == made_up(50)
    assert len(set(made_up(50))) == 50


def test_texts_are_embedded_once(tmp_path, monkeypatch):
    calls = []

    def embed(texts):
        calls.append(len(texts))
        return np.ones((len(texts), 384), dtype=np.float32)

    monkeypatch.setattr(sentences, "embed", embed)
    for _ in range(2):
        assert embed_once(["a", "b"], tmp_path).shape == (2, 384)
    embed_once(["a", "c"], tmp_path)
    assert calls == [2, 1]
