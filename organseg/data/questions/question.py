"""The question: its text, the organs that it asks for, its kind, its source fact, its split."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Split(str, Enum):
    """Which part of the question set a question belongs to; its value is the folder's name."""

    TRAIN = "train"
    """Questions that a model may be trained on."""
    HELD_OUT = "held_out"
    """Questions for evaluation only: other templates and other facts than the training ones."""


class QuestionKind(str, Enum):
    """From which side a question comes at what it asks for."""

    FUNCTION = "function"
    """What the organ does."""
    PLACE = "place"
    """Where it lies in the body."""
    NEIGHBOURS = "neighbours"
    """What touches it."""
    ANATOMY = "anatomy"
    """Its parts, its vessels, its tissue."""
    DISEASE = "disease"
    """What befalls it."""
    SURGERY = "surgery"
    """What is done to it."""
    IMAGING = "imaging"
    """How it is examined and what it looks like then."""
    NAME = "name"
    """Its common name."""
    SYNONYM = "synonym"
    """Another name or an adjective."""
    LATIN = "latin"
    """Its Latin or Greek name."""
    ABBREVIATION = "abbreviation"
    """An abbreviation of it or of what is peculiar to it."""
    LAY = "lay"
    """Words of people without a medical training."""
    IMPERATIVE = "imperative"
    """An order rather than a question."""
    STEERED = "steered"
    """An order around the question: a role, a format, a wrong hint, "not this but that"."""
    TYPO = "typo"
    """Mistyped, whatever it asks for."""
    PAIR = "pair"
    """Two organs that are no left–right pair."""
    TRIPLE = "triple"
    """Three organs."""
    OTHER_ORGAN = "other_organ"
    """Out of scope: an organ that is none of the 13."""
    OTHER_BODY_PART = "other_body_part"
    """Out of scope: bone, muscle, limb, sense, vessel, device."""
    NEAR_MISS = "near_miss"
    """Out of scope, though it sounds like one of the 13 (the bladder that holds urine)."""
    CHIT_CHAT = "chit_chat"
    """Out of scope: small talk."""
    NON_MEDICAL = "non_medical"
    """Out of scope: knowledge and things of the world."""
    ABOUT_THE_IMAGE = "about_the_image"
    """Out of scope: the scan, the patient, the report."""
    GENERAL_MEDICINE = "general_medicine"
    """Out of scope: medicine without an organ of the 13."""
    INSTRUCTION = "instruction"
    """Out of scope: tries to talk the model round."""


ORGAN_KINDS = frozenset(
    {
        QuestionKind.FUNCTION,
        QuestionKind.PLACE,
        QuestionKind.NEIGHBOURS,
        QuestionKind.ANATOMY,
        QuestionKind.DISEASE,
        QuestionKind.SURGERY,
        QuestionKind.IMAGING,
        QuestionKind.NAME,
        QuestionKind.SYNONYM,
        QuestionKind.LATIN,
        QuestionKind.ABBREVIATION,
        QuestionKind.LAY,
        QuestionKind.IMPERATIVE,
        QuestionKind.STEERED,
    }
)
"""The kinds of a question for one organ or for a left–right pair ("the kidneys")."""

OUT_OF_SCOPE_KINDS = frozenset(
    {
        QuestionKind.OTHER_ORGAN,
        QuestionKind.OTHER_BODY_PART,
        QuestionKind.NEAR_MISS,
        QuestionKind.CHIT_CHAT,
        QuestionKind.NON_MEDICAL,
        QuestionKind.ABOUT_THE_IMAGE,
        QuestionKind.GENERAL_MEDICINE,
        QuestionKind.INSTRUCTION,
    }
)
"""The kinds of a question that asks for none of the 13 organs."""


@dataclass(frozen=True)
class Question:
    """One question in plain words, and what it asks for."""

    text: str
    """The question as a user would type it."""
    organ_ids: tuple[int, ...]
    """The ids of the organs asked for (1 to 13), rising; empty where it is out of scope."""
    kind: QuestionKind
    """From which side it comes at its subject."""
    fact: str
    """The piece of knowledge that it was written from."""
    split: Split
    """Training or held-out."""

    @property
    def in_scope(self) -> bool:
        """Whether it asks for at least one of the 13 organs."""
        return bool(self.organ_ids)
