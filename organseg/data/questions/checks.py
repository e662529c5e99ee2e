"""The checks of the question set: enough of everything, and the two splits truly apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from organseg.data.questions.near_copies import (
    DEFAULT_THRESHOLD,
    NearCopy,
    fold,
    near_copies,
    template_of,
)
from organseg.data.questions.question import Question, QuestionKind, Split
from organseg.organs import ORGANS

MINIMUM_PER_ORGAN = {Split.TRAIN: 60, Split.HELD_OUT: 20}
"""How many questions for that organ alone each split must hold."""

MINIMUM_OUT_OF_SCOPE = {Split.TRAIN: 250, Split.HELD_OUT: 80}
"""How many out-of-scope questions each split must hold."""

DEMANDED_KINDS = frozenset(
    {
        QuestionKind.FUNCTION,
        QuestionKind.PLACE,
        QuestionKind.NEIGHBOURS,
        QuestionKind.DISEASE,
        QuestionKind.SURGERY,
        QuestionKind.NAME,
        QuestionKind.SYNONYM,
        QuestionKind.LATIN,
        QuestionKind.ABBREVIATION,
        QuestionKind.LAY,
        QuestionKind.IMPERATIVE,
        QuestionKind.TYPO,
    }
)
"""The kinds that each organ must be asked by in each split."""

KNOWLEDGE_KINDS = frozenset(
    {
        QuestionKind.FUNCTION,
        QuestionKind.PLACE,
        QuestionKind.NEIGHBOURS,
        QuestionKind.ANATOMY,
        QuestionKind.DISEASE,
        QuestionKind.SURGERY,
        QuestionKind.IMAGING,
    }
)
"""The kinds whose facts are knowledge of the body, compared between the splits."""


def find_faults(
    train: Sequence[Question],
    held_out: Sequence[Question],
    threshold: float = DEFAULT_THRESHOLD,
    descriptions: Sequence[str] = (),
) -> tuple[str, ...]:
    """What is wrong with the set, one sentence each; empty where all is well.

    Looks for organs with too few questions or without a demanded kind, too few out-of-scope
    questions, held-out questions that are near copies of training ones (`near_copies`) or of
    one of `descriptions` (the sentences of the context cache), held-out facts that are near
    copies of training facts (`near_facts`), and facts or templates that both splits use.
    """
    return (
        *_thin_subjects(train, Split.TRAIN),
        *_thin_subjects(held_out, Split.HELD_OUT),
        *(
            f"near copy ({copy.similarity:.2f}): {copy.held_out.text!r} of {copy.train.text!r}"
            for copy in near_copies(train, held_out, threshold)
        ),
        *(
            f"near copy of a description ({copy.similarity:.2f}): "
            f"{copy.held_out.text!r} of {copy.train.text!r}"
            for copy in _copies_of_descriptions(descriptions, held_out, threshold)
        ),
        *(
            f"near fact ({copy.similarity:.2f}): {copy.held_out.text!r} of {copy.train.text!r}"
            for copy in near_facts(train, held_out, threshold)
        ),
        *(f"fact in both splits: {fact!r}" for fact in shared_facts(train, held_out)),
        *(f"template in both splits: {each!r}" for each in shared_templates(train, held_out)),
    )


def near_facts(
    train: Sequence[Question],
    held_out: Sequence[Question],
    threshold: float = DEFAULT_THRESHOLD,
) -> tuple[NearCopy, ...]:
    """The held-out facts as like another fact of training as `threshold` or more.

    Only facts of `KNOWLEDGE_KINDS` are compared: the others say what a name or a sentence is
    ("The liver, mistyped"). The texts of the copies are the facts. Equal facts are left to
    `shared_facts`.
    """
    shared = set(shared_facts(train, held_out))
    return near_copies(_facts_of(train, shared), _facts_of(held_out, shared), threshold)


def shared_facts(train: Sequence[Question], held_out: Sequence[Question]) -> tuple[str, ...]:
    """The facts, folded, that both splits were written from; sorted."""
    return tuple(
        sorted({fold(each.fact) for each in train} & {fold(each.fact) for each in held_out})
    )


def shared_templates(train: Sequence[Question], held_out: Sequence[Question]) -> tuple[str, ...]:
    """The templates (questions with the organs' names masked) that both splits use; sorted."""
    return tuple(
        sorted(
            {template_of(each.text) for each in train}
            & {template_of(each.text) for each in held_out}
        )
    )


def _facts_of(questions: Sequence[Question], without: set[str]) -> list[Question]:
    """A question per fact of the kinds compared, with the fact as its text."""
    compared = {each.fact: each for each in questions if each.kind in KNOWLEDGE_KINDS}
    return [
        replace(each, text=fact) for fact, each in compared.items() if fold(fact) not in without
    ]


def _copies_of_descriptions(
    descriptions: Sequence[str], held_out: Sequence[Question], threshold: float
) -> tuple[NearCopy, ...]:
    sentences = [
        Question(text, (), QuestionKind.NAME, "A description.", Split.TRAIN)
        for text in descriptions
    ]
    return near_copies(sentences, held_out, threshold)


def _thin_subjects(questions: Sequence[Question], split: Split) -> Iterator[str]:
    counts = Counter(question.organ_ids for question in questions)
    for organ in ORGANS:
        count, wanted = counts[(organ.id,)], MINIMUM_PER_ORGAN[split]
        if count < wanted:
            yield f"{organ.name}: wanted {wanted} {split.value} questions, got {count}"
        kinds = {each.kind for each in questions if each.organ_ids == (organ.id,)}
        for kind in sorted(DEMANDED_KINDS - kinds, key=lambda kind: kind.value):
            yield f"{organ.name}: no {split.value} question of kind {kind.value}"
    count, wanted = counts[()], MINIMUM_OUT_OF_SCOPE[split]
    if count < wanted:
        yield f"out of scope: wanted {wanted} {split.value} questions, got {count}"
