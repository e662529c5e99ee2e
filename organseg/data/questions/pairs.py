"""The pair generator: slices and questions to image–question samples with the paper's fields."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from organseg.contract.verdicts import Verdict, summarise
from organseg.data.questions.question import Question
from organseg.data.questions.typos import with_typos
from organseg.networks.wording import OPTION_TEXTS, prompt_text
from organseg.organs import NONE, ORGANS, organ_by_id

_ORGAN_IDS = frozenset(organ.id for organ in ORGANS)


@dataclass(frozen=True)
class SliceOrgans:
    """One image, as the generator sees it."""

    image_id: str
    """The image's name in its dataset."""
    organ_ids: frozenset[int]
    """The ids of the organs that the image shows (1 to 13); empty for a blank one."""


@dataclass(frozen=True)
class Proportions:
    """How the samples are shared out; the three verdicts sum to 1."""

    segmented: float = 0.6
    """The share whose question asks for at least one organ that the image shows."""
    absent_in_image: float = 0.2
    """The share whose question asks only for organs that the image does not show."""
    out_of_scope: float = 0.2
    """The share whose question asks for none of the 13 organs."""
    several: float = 0.15
    """Of the questions for an organ, the share that asks for two or three at once."""
    typos: float = 0.1
    """Of all questions, the share that is mistyped on the way."""

    def __post_init__(self) -> None:
        shares = (self.segmented, self.absent_in_image, self.out_of_scope)
        if not all(0.0 <= share <= 1.0 for share in (*shares, self.several, self.typos)):
            raise ValueError(f"wanted shares from 0 to 1, got {self}")
        if not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"wanted verdicts that sum to 1, got {sum(shares):g}: {self}")


@dataclass(frozen=True)
class ImageQuestion:
    """One sample: an image, a question, and all that the right answer consists of."""

    image_id: str
    """The image's name in its dataset."""
    question: Question
    """The question as it is put, mistyped where the draw said so."""
    options: tuple[str, ...]
    """The 14 option texts, letters A to N."""
    answer_letters: tuple[str, ...]
    """The right letter per organ asked for, in the order of ids; ("N",) if out of scope."""
    organ_names: tuple[str, ...]
    """The canonical name per organ asked for; ("none",) if out of scope."""
    verdicts: tuple[Verdict, ...]
    """The verdict per organ asked for."""
    mask_organ_ids: tuple[int, ...]
    """The ids whose masks make up the target; empty where the target is blank."""

    @property
    def verdict(self) -> Verdict:
        """The whole answer's verdict."""
        return summarise(self.verdicts)

    def as_record(self) -> dict[str, Any]:
        """The sample as plain values for a JSON line, the paper's prompt among them."""
        return {
            "image_id": self.image_id,
            "question": self.question.text,
            "kind": self.question.kind.value,
            "fact": self.question.fact,
            "split": self.question.split.value,
            "prompt": prompt_text(self.question.text),
            "options": list(self.options),
            "answer_letters": list(self.answer_letters),
            "organ_names": list(self.organ_names),
            "verdicts": [verdict.value for verdict in self.verdicts],
            "mask_organ_ids": list(self.mask_organ_ids),
        }


def answer(image: SliceOrgans, question: Question) -> ImageQuestion:
    """The sample of this image and this question."""
    asked = question.organ_ids or (NONE.id,)
    return ImageQuestion(
        image_id=image.image_id,
        question=question,
        options=OPTION_TEXTS,
        answer_letters=tuple(organ_by_id(organ_id).letter for organ_id in asked),
        organ_names=tuple(organ_by_id(organ_id).name for organ_id in asked),
        verdicts=tuple(_verdict_on(organ_id, image) for organ_id in asked),
        mask_organ_ids=tuple(
            organ_id for organ_id in question.organ_ids if organ_id in image.organ_ids
        ),
    )


def make_pairs(
    slices: Sequence[SliceOrgans],
    questions: Sequence[Question],
    seed: int,
    *,
    pairs_per_slice: int = 4,
    proportions: Proportions | None = None,
) -> Iterator[ImageQuestion]:
    """Yields `pairs_per_slice` samples for each slice, slice by slice.

    The verdicts come in exactly the wanted proportions (rounded to whole samples) as far as the
    slices allow: a slice without organs can give no `segmented`, one with all 13 no
    `absent_in_image`, and what they cannot give is drawn as another verdict. Within a verdict
    every organ is asked for equally often as far as the slices allow, so that small organs are
    not drowned. The same arguments give the same samples.

    Raises:
        ValueError: no question for some organ or none out of scope, an organ id outside 1 to
            13, or fewer than one pair per slice.
    """
    wanted = proportions or Proportions()
    if pairs_per_slice < 1:
        raise ValueError(f"wanted at least one pair per slice, got {pairs_per_slice}")
    for image in slices:
        if not image.organ_ids <= _ORGAN_IDS:
            raise ValueError(f"wanted organ ids 1 to 13, got {sorted(image.organ_ids)}")
    draw = _Draw(questions, wanted, random.Random(f"pairs:{seed}"))
    slots = [image for image in slices for _ in range(pairs_per_slice)]
    return (
        answer(image, draw.question(image, verdict))
        for image, verdict in zip(slots, _share_out(slots, wanted, draw.chance), strict=True)
    )


def _verdict_on(organ_id: int, image: SliceOrgans) -> Verdict:
    if organ_id == NONE.id:
        return Verdict.OUT_OF_SCOPE
    return Verdict.SEGMENTED if organ_id in image.organ_ids else Verdict.ABSENT_IN_IMAGE


def _share_out(
    slots: Sequence[SliceOrgans], wanted: Proportions, chance: random.Random
) -> list[Verdict]:
    """A verdict per slot: exact quotas, filled in random order where a slot allows it."""
    segmented = round(wanted.segmented * len(slots))
    in_scope = round((wanted.segmented + wanted.absent_in_image) * len(slots))
    verdicts = [Verdict.OUT_OF_SCOPE] * len(slots)
    free = list(range(len(slots)))
    chance.shuffle(free)
    quotas = (
        (Verdict.SEGMENTED, segmented, lambda organ_ids: bool(organ_ids)),
        (Verdict.ABSENT_IN_IMAGE, in_scope - segmented, lambda organ_ids: organ_ids != _ORGAN_IDS),
    )
    for verdict, quota, allows in quotas:
        taken = [slot for slot in free if allows(slots[slot].organ_ids)][:quota]
        for slot in taken:
            verdicts[slot] = verdict
        free = sorted(set(free) - set(taken), key=free.index)
    return verdicts


class _Draw:
    """Draws the questions, keeping count of how often each organ was asked for."""

    def __init__(
        self, questions: Sequence[Question], wanted: Proportions, chance: random.Random
    ) -> None:
        self.chance = chance
        self._wanted = wanted
        self._single = {
            organ_id: [question for question in questions if question.organ_ids == (organ_id,)]
            for organ_id in sorted(_ORGAN_IDS)
        }
        self._several = [question for question in questions if len(question.organ_ids) > 1]
        self._out_of_scope = [question for question in questions if not question.in_scope]
        lacking = [organ_by_id(key).name for key, found in self._single.items() if not found]
        if lacking or not self._out_of_scope:
            raise ValueError(
                "wanted questions for each organ and out of scope, got none for "
                + ", ".join(lacking or ["out of scope"])
            )
        self._asked: dict[Verdict, Counter[int]] = {verdict: Counter() for verdict in Verdict}

    def question(self, image: SliceOrgans, verdict: Verdict) -> Question:
        """A question that has this verdict on this image."""
        if verdict is Verdict.OUT_OF_SCOPE:
            return self._mistype(self.chance.choice(self._out_of_scope))
        present = verdict is Verdict.SEGMENTED
        eligible = image.organ_ids if present else _ORGAN_IDS - image.organ_ids
        asked = self._asked[verdict]
        fewest = min(asked[organ_id] for organ_id in eligible)
        target = self.chance.choice(
            [organ_id for organ_id in sorted(eligible) if asked[organ_id] == fewest]
        )
        candidates = self._single[target]
        if self.chance.random() < self._wanted.several:
            candidates = [
                question
                for question in self._several
                if target in question.organ_ids
                and (present or not image.organ_ids.intersection(question.organ_ids))
            ] or candidates
        question = self.chance.choice(candidates)
        asked.update(set(question.organ_ids) & eligible)
        return self._mistype(question)

    def _mistype(self, question: Question) -> Question:
        if self.chance.random() < self._wanted.typos:
            return with_typos(question, self.chance.getrandbits(32))
        return question
