"""Explanations: what is said of an answer behind the sentence that states it. For training alone.

A language model that starts from nothing learns to talk from these: which words fit an organ, an
organ that the image does not show, or a question that asks for none of the 13.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organseg.contract.verdicts import Verdict
from organseg.data.questions.glossary import read_fields
from organseg.data.questions.loader import BUILT_IN_FOLDER
from organseg.data.questions.near_copies import fold
from organseg.errors import DatasetError
from organseg.organs import ORGANS, listed, organ_by_id, organ_by_name

EXPLANATIONS_FILE = BUILT_IN_FOLDER / "explanations.json"
"""The explanations that come with the package."""

_FIELDS = frozenset({"description", "source", "licence", "organs", "several", "none"})
_SAID_OF_ORGANS = (Verdict.SEGMENTED, Verdict.ABSENT_IN_IMAGE)


@dataclass(frozen=True)
class OutOfScope:
    """An explanation for a question that asks for none of the 13 organs."""

    about: frozenset[str]
    """Words of a question that it fits; empty where it fits any."""
    text: str
    """What is said."""


@dataclass(frozen=True)
class Explanations:
    """What can be said of every answer."""

    organs: Mapping[tuple[int, Verdict], tuple[str, ...]]
    """Texts by organ id and verdict, segmented or absent."""
    several: tuple[str, ...]
    """Texts with one `{organs}`, for questions that ask for more than one."""
    none: tuple[OutOfScope, ...]
    """Texts for questions out of scope."""

    def choose(
        self,
        question: str,
        organ_ids: Sequence[int],
        verdicts: Sequence[Verdict],
        chance: random.Random,
    ) -> str:
        """An explanation of one answer.

        Args:
            question: what was asked; decides what is said where it asks for no organ.
            organ_ids: the organs that it asks for; none where it is out of scope.
            verdicts: segmented or absent, one for each of them.
            chance: chooses among the texts that fit.
        """
        if not organ_ids:
            words = set(fold(question).split())
            fitting = [each.text for each in self.none if each.about & words]
            return chance.choice(fitting or [each.text for each in self.none if not each.about])
        if len(organ_ids) == 1:
            return chance.choice(self.organs[organ_ids[0], verdicts[0]])
        organs = listed([f"the {organ_by_id(each).name}" for each in organ_ids])
        return chance.choice(self.several).format(organs=organs)


def load_explanations(path: Path = EXPLANATIONS_FILE) -> Explanations:
    """The explanations of a file.

    Raises:
        DatasetError: the file is not laid out as `files/README.md` says.
    """
    content = read_fields(path, _FIELDS)
    organs = {
        (organ_by_name(name).id, verdict): tuple(texts[verdict.value])
        for name, texts in content["organs"].items()
        for verdict in _SAID_OF_ORGANS
    }
    _demand(all(organs.values()) and len(organs) == 2 * len(ORGANS), "texts of every organ", path)
    several = tuple(content["several"])
    _demand(all(text.count("{organs}") == 1 for text in several), "one {organs} in each", path)
    none = tuple(_out_of_scope(entry) for entry in content["none"])
    _demand(any(not each.about for each in none), "a text that fits any question", path)
    return Explanations(organs, several, none)


def _out_of_scope(entry: Mapping[str, Any]) -> OutOfScope:
    return OutOfScope(frozenset(entry["about"]), entry["text"])


def _demand(holds: bool, wanted: str, path: Path) -> None:
    if not holds:
        raise DatasetError(
            f"wanted {wanted} in {path.name}, got something else: see README.md beside it"
        )
