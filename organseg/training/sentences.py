"""What the language model is taught with: training questions, and sentences to distil.

Questions are held apart by fact for validation. The held-out questions of the data set are
never read here. Sentences need no label: the text encoder's embedding is what is learned.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.data.questions import Question, QuestionKind, load_questions
from organseg.data.questions import Split as QuestionSplit
from organseg.data.questions.glossary import Composed, Glossary, load_glossary
from organseg.data.questions.phrases import load_phrases
from organseg.data.questions.typos import mistype
from organseg.data.splits import seeded_fraction
from organseg.networks.build import stand_in_tokenizer
from organseg.networks.context_cache import load_descriptions
from organseg.networks.text_encoder import embed, encoder_sha256
from organseg.organs import ANSWERS, NONE, ORGANS

VALIDATION_SHARE = 0.04
"""Share of facts whose questions are held apart to choose by."""

_IN_SCOPE_SHARE = 0.78
"""Share of drawn questions that ask for an organ."""

_SEVERAL_SHARE = 0.25
"""Share of those that ask for more than one."""

_EVEN_SHARE = 0.5
"""Share of questions whose kind is drawn first, all kinds equally often: few are of places and
orders, and many of diseases, while people ask for all."""

_GLOSSARY_SHARE = 0.2
"""Share of composed texts that hold terms of the glossary; the others hold names or clues."""

_OPENINGS = ("Please:", "Hi,", "Hello!", "Ok,", "Quick question:", "Doctor,", "So,", "Question:")
_CLOSINGS = ("Thanks.", "Please.", "Thank you!", "on this slice", "in this image", "here", "for me")

_TEMPLATES = (
    "{a}",
    "{a} {b}",
    "{a} and {b}",
    "What is {a}?",
    "Which organ is about {a} and {b}?",
    "Show me the {a}.",
    "Segment the {a} near the {b}.",
    "Tell me about {a} {b} {c}.",
    "Where can I find {a} for {b}?",
    "The {a} of the {b} makes {c}.",
    "Why does the {a} need {b}?",
    "I like {a}, {b} and {c}.",
)


@dataclass(frozen=True, eq=False)
class AskedTexts:
    """Texts of one batch with what is to be learned from each."""

    texts: tuple[str, ...]
    """N texts as they are put to the model."""
    asked: Tensor
    """bool [N, 14]: the right answers; all False where a text is only distilled."""
    vectors: Tensor
    """float32 [N, E]: the text encoder's embedding of the text before any typo; zeros where the
    text was not embedded."""


class _ByKind:
    """Questions, half of the time drawn by way of their kind."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self.every = tuple(questions)
        kinds: dict[QuestionKind, list[Question]] = {}
        for question in self.every:
            kinds.setdefault(question.kind, []).append(question)
        self._kinds = tuple(kinds.values())

    def choose(self, chance: random.Random) -> Question:
        """One of them."""
        if chance.random() < _EVEN_SHARE:
            return chance.choice(chance.choice(self._kinds))
        return chance.choice(self.every)


class QuestionBank:
    """Training questions, those held apart to choose by, and sentences to distil."""

    def __init__(
        self,
        folder: Path,
        *,
        sentences: int = 16000,
        questions: Sequence[Question] | None = None,
    ) -> None:
        """Embeds all texts once; the embeddings are kept in `folder`.

        Args:
            folder: where embeddings are kept between runs.
            sentences: how many sentences are made up from the vocabulary's words.
            questions: instead of the built-in training questions.
        """
        every = load_questions(QuestionSplit.TRAIN) if questions is None else questions
        apart = [seeded_fraction(0, "fact", each.fact) < VALIDATION_SHARE for each in every]
        self.training = tuple(q for q, held in zip(every, apart, strict=True) if not held)
        self.validation = tuple(q for q, held in zip(every, apart, strict=True) if held)
        self.glossary, self.phrases = load_glossary(), load_phrases()
        self.sentences = (
            *dict.fromkeys(
                [
                    *(question.fact for question in self.training),
                    *_described(),
                    *self.glossary.sentences,
                    *composed_texts(self.glossary, sentences // 2),
                    *made_up(sentences // 2),
                ]
            ),
        )
        texts = [q.text for q in (*self.training, *self.validation)] + list(self.sentences)
        vectors = embed_once(texts, folder)
        self._vector_of = dict(zip(texts, vectors, strict=True))
        self._unknown = np.zeros_like(vectors[0])
        in_scope = [q for q in self.training if q.in_scope]
        single = (_ByKind(q for q in in_scope if q.organ_ids == (organ.id,)) for organ in ORGANS)
        self._single = [questions for questions in single if questions.every]
        self._several = _ByKind(q for q in in_scope if len(q.organ_ids) > 1)
        self._out = _ByKind(q for q in self.training if not q.in_scope)

    def few(self, count: int) -> tuple[Question, ...]:
        """At most `count` of the questions held apart, spread evenly."""
        return self.validation[:: max(1, -(-len(self.validation) // count))]

    def draw(
        self,
        count: int,
        rng: np.random.Generator,
        *,
        typos: float,
        composed: float = 0.0,
        distilled: float = 0.0,
    ) -> AskedTexts:
        """`count` texts, the organs equally often.

        A share `distilled` are sentences without label, a share `composed` names, clues and terms
        in a template, which have no embedding; the rest are questions.
        """
        chance = random.Random(int(rng.integers(2**62)))
        texts, asked, vectors = [], torch.zeros((count, len(ANSWERS)), dtype=torch.bool), []
        for row in range(count):
            kind = chance.random()
            if kind < distilled:
                text = chance.choice(self.sentences)
                vectors.append(self._vector_of[text])
                texts.append(text)
            elif kind < distilled + composed:
                made = self._composed(chance)
                vectors.append(self._unknown)
                texts.append(vary(made.text, chance, typos))
                asked[row] = answers_of(made.organ_ids)
            else:
                question = self._question(chance)
                vectors.append(self._vector_of[question.text])
                texts.append(vary(question.text, chance, typos))
                asked[row] = asked_answers(question)
        return AskedTexts(tuple(texts), asked, torch.from_numpy(np.stack(vectors)))

    def draw_questions(self, count: int, rng: np.random.Generator) -> list[Question]:
        """`count` training questions as they stand, the organs equally often."""
        chance = random.Random(int(rng.integers(2**62)))
        return [self._question(chance) for _ in range(count)]

    def _composed(self, chance: random.Random) -> Composed:
        source = self.glossary if chance.random() < _GLOSSARY_SHARE else self.phrases
        return source.compose(chance)

    def _question(self, chance: random.Random) -> Question:
        if self._out.every and chance.random() > _IN_SCOPE_SHARE:
            return self._out.choose(chance)
        if self._several.every and chance.random() < _SEVERAL_SHARE:
            return self._several.choose(chance)
        return chance.choice(self._single).choose(chance)


def asked_answers(question: Question) -> Tensor:
    """Bool [14]: the organs that a question asks for, or none of them."""
    return answers_of(question.organ_ids)


def answers_of(organ_ids: Sequence[int]) -> Tensor:
    """Bool [14]: these organs, or "none of them" where there are none."""
    row = torch.zeros(len(ANSWERS), dtype=torch.bool)
    for organ_id in organ_ids or (NONE.id,):
        row[organ_id - 1] = True
    return row


def vary(text: str, chance: random.Random, typos: float) -> str:
    """A text as someone else would type it: slips, no capitals, no question mark, a greeting."""
    if chance.random() < typos:
        text = mistype(text, chance.getrandbits(32))
    if chance.random() < 0.25:
        text = text.rstrip("?.! ") or text
    if chance.random() < 0.15:
        text = text.lower()
    if chance.random() < 0.06:
        text = f"{chance.choice(_OPENINGS)} {text}"
    if chance.random() < 0.06:
        text = f"{text} {chance.choice(_CLOSINGS)}"
    return text


def made_up(count: int, seed: int = 0) -> list[str]:
    """Sentences from templates and the vocabulary's whole words: they teach what words mean."""
    tokenizer, _, _ = stand_in_tokenizer()
    vocabulary = tokenizer.get_vocab()
    words = sorted(
        (word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2),
        key=lambda word: vocabulary[word],
    )
    chance = random.Random(f"sentences:{seed}")
    found: dict[str, None] = {}
    while len(found) < count:
        a, b, c = chance.sample(words, 3)
        found[chance.choice(_TEMPLATES).format(a=a, b=b, c=c)] = None
    return list(found)


def composed_texts(glossary: Glossary, count: int, seed: int = 0) -> list[str]:
    """Sentences from the glossary, to be embedded."""
    chance = random.Random(f"glossary:{seed}")
    return [glossary.compose(chance).text for _ in range(count)]


def embed_once(texts: Sequence[str], folder: Path) -> npt.NDArray[np.float32]:
    """The text encoder's unit vectors, float32 [N, E]; `folder` keeps those of every text seen."""
    path = folder / f"embeddings_{encoder_sha256()[:16]}.npz"
    known: dict[str, npt.NDArray[np.float32]] = {}
    if path.is_file():
        with np.load(path) as stored:
            known = dict(zip(stored["digests"].tolist(), stored["vectors"], strict=True))
    digests = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    missing = {key: text for key, text in zip(digests, texts, strict=True) if key not in known}
    if missing:
        known |= dict(zip(missing, embed(list(missing.values())), strict=True))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(temporary, digests=list(known), vectors=np.stack(list(known.values())))
        os.replace(temporary, path)
    return np.stack([known[key] for key in digests])


def _described() -> list[str]:
    groups = load_descriptions()
    return [text for group in groups.values() for texts in group.values() for text in texts]
