"""Which questions are put to which slices of a volume: seeded, in stated proportions.

Sampled: for every organ a few slices that show it, each with a question of its own; then, in the
shares of `Proportions`, questions for several organs, for organs that the slice does not show,
and out-of-scope ones. Every slice: each labelled organ is asked for in each slice (what volume
scores need), and each slice also gets a question for several organs and an out-of-scope one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations, cycle, islice

import numpy as np

from organseg.data.flare22 import LabelledVolume, choose_slices, slices_of_organs
from organseg.data.questions import Proportions, Question, QuestionKind, load_questions, with_typos
from organseg.data.questions import Split as QuestionSplit
from organseg.organs import ORGANS

__all__ = [
    "ASKED_SLICES_PER_ORGAN",
    "PROPORTIONS",
    "PutQuestion",
    "QuestionChoice",
    "Questionnaire",
    "choose_questions",
]

PROPORTIONS = Proportions()
"""The shares of a sampled questionnaire; mistyping applies to every slice's questions too."""

ASKED_SLICES_PER_ORGAN = 4
"""Slices of each organ that a patient contributes by default: about 100 questions in all."""


class QuestionChoice(str, Enum):
    """Whose words are used."""

    HELD_OUT = "held_out"
    """The held-out questions: other templates and facts than any training question."""
    TRAIN = "train"
    """The training questions: what a model may have seen."""
    NAMES = "names"
    """"Segment the liver": names alone, no knowledge; out-of-scope questions are held-out ones."""


@dataclass(frozen=True)
class PutQuestion:
    """A question, and the slice that it is put to."""

    slice_index: int
    """0 at the feet."""
    question: Question
    """As it is put, mistyped where the draw said so."""


def choose_questions(choice: QuestionChoice) -> tuple[Question, ...]:
    """All questions of a choice. Raises `DatasetError` as `load_questions` does."""
    if choice is not QuestionChoice.NAMES:
        return load_questions(QuestionSplit(choice.value))
    groups = [*combinations(ORGANS, 1), *combinations(ORGANS, 2)]
    named = tuple(
        Question(
            text="Segment " + " and ".join(f"the {organ.name}" for organ in group),
            organ_ids=tuple(organ.id for organ in group),
            kind=QuestionKind.NAME if len(group) == 1 else QuestionKind.PAIR,
            fact="the organ's name",
            split=QuestionSplit.HELD_OUT,
        )
        for group in groups
    )
    held_out = load_questions(QuestionSplit.HELD_OUT)
    return named + tuple(question for question in held_out if not question.in_scope)


@dataclass(frozen=True)
class Questionnaire:
    """What is asked of each volume; the same arguments ask the same."""

    choice: QuestionChoice = QuestionChoice.HELD_OUT
    """Whose words."""
    slices_per_organ: int | None = ASKED_SLICES_PER_ORGAN
    """Slices that show an organ, per organ and patient; `None` for every slice."""
    seed: int = 0
    """Of every draw; each patient has draws of their own."""

    def put_to(self, volume: LabelledVolume) -> tuple[PutQuestion, ...]:
        """The questions for a volume, slice by slice from the feet."""
        typos = 0.0 if self.choice is QuestionChoice.NAMES else PROPORTIONS.typos
        chance = random.Random(f"questionnaire:{self.seed}:{volume.patient_id}")
        draw = _Draw(volume, choose_questions(self.choice), chance, typos)
        if self.slices_per_organ is None:
            put = _put_to_every_slice(draw)
        else:
            put = _put_to_samples(draw, volume, self.slices_per_organ, self.seed)
        return tuple(sorted(put, key=lambda item: item.slice_index))


class _Draw:
    """Draws questions so that none comes back before all that fit were put."""

    def __init__(
        self,
        volume: LabelledVolume,
        questions: Iterable[Question],
        chance: random.Random,
        typos: float,
    ) -> None:
        self.chance = chance
        self.labelled = sorted(volume.labelled_organ_ids)
        self.shown = [
            volume.labelled_organ_ids.intersection(np.unique(plane).tolist())
            for plane in volume.labels
        ]
        self._typos = typos
        self._deck = [
            question
            for question in questions
            if volume.labelled_organ_ids.issuperset(question.organ_ids)
        ]
        chance.shuffle(self._deck)

    def put(self, slice_index: int, fits: Callable[[tuple[int, ...]], bool]) -> list[PutQuestion]:
        """A question whose organs fit, put to the slice; an empty list where none does."""
        for place, question in enumerate(self._deck):
            if fits(question.organ_ids):
                self._deck.append(self._deck.pop(place))
                if self.chance.random() < self._typos:
                    # Still of its own kind: slips do not make a described organ a named one.
                    mistyped = with_typos(question, self.chance.getrandbits(32))
                    question = replace(mistyped, kind=question.kind)
                return [PutQuestion(slice_index, question)]
        return []

    def put_single(self, slice_index: int, organ_id: int) -> list[PutQuestion]:
        """A question for this organ alone."""
        return self.put(slice_index, lambda organ_ids: organ_ids == (organ_id,))


def _put_to_every_slice(draw: _Draw) -> list[PutQuestion]:
    put: list[PutQuestion] = []
    for index in range(len(draw.shown)):
        for organ_id in draw.labelled:
            put += draw.put_single(index, organ_id)
        put += draw.put(index, _is_several)
        put += draw.put(index, _is_out_of_scope)
    return put


def _put_to_samples(
    draw: _Draw, volume: LabelledVolume, slices_per_organ: int, seed: int
) -> list[PutQuestion]:
    chosen = choose_slices(slices_of_organs([volume]), limit=slices_per_organ, seed=seed)
    put: list[PutQuestion] = []
    for organ_id, references in sorted(chosen.items()):
        for reference in references:
            put += draw.put_single(reference.slice_index, organ_id)
    singles_share = PROPORTIONS.segmented * (1.0 - PROPORTIONS.several)
    # A scan that shows no organ is still asked about absent ones and out of scope.
    total = max(len(put), slices_per_organ) / singles_share

    with_organs = [index for index, shown in enumerate(draw.shown) if shown]
    several = round(total * PROPORTIONS.segmented * PROPORTIONS.several)
    for index in _drawn(draw, with_organs, several):
        put += draw.put(
            index,
            lambda organ_ids, shown=draw.shown[index]: (  # type: ignore[misc]
                _is_several(organ_ids) and not shown.isdisjoint(organ_ids)
            ),
        )
    put += _put_absent(draw, round(total * PROPORTIONS.absent_in_image))
    everywhere = list(range(len(draw.shown)))
    for index in _drawn(draw, everywhere, round(total * PROPORTIONS.out_of_scope)):
        put += draw.put(index, _is_out_of_scope)
    return put


def _put_absent(draw: _Draw, count: int) -> list[PutQuestion]:
    """Questions for organs that the slice does not show, each organ equally often."""
    slices_without = {
        organ_id: [index for index, shown in enumerate(draw.shown) if organ_id not in shown]
        for organ_id in draw.labelled
    }
    organs = [organ_id for organ_id, slices in slices_without.items() if slices]
    draw.chance.shuffle(organs)
    put: list[PutQuestion] = []
    for number, organ_id in enumerate(islice(cycle(organs), count)):
        index = draw.chance.choice(slices_without[organ_id])
        found: list[PutQuestion] = []
        if number < round(count * PROPORTIONS.several):
            found = draw.put(
                index,
                lambda organ_ids, shown=draw.shown[index]: (  # type: ignore[misc]
                    _is_several(organ_ids) and shown.isdisjoint(organ_ids)
                ),
            )
        put += found or draw.put_single(index, organ_id)
    return put


def _drawn(draw: _Draw, slices: list[int], count: int) -> list[int]:
    """`count` slices, all different as long as there are that many."""
    shuffled = draw.chance.sample(slices, len(slices))
    return list(islice(cycle(shuffled), count)) if shuffled else []


def _is_several(organ_ids: tuple[int, ...]) -> bool:
    return len(organ_ids) > 1


def _is_out_of_scope(organ_ids: tuple[int, ...]) -> bool:
    return not organ_ids
