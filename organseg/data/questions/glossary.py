"""The glossary: terms that point to one topic, and sentences to ask with them.

"cholecystectomy" points to the gallbladder, "which organ is {term} about?" asks with it. Terms
times templates are far more questions than anyone writes, so a small model meets every term in
many sentences and every sentence with many terms. For training alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organseg.data.questions.loader import BUILT_IN_FOLDER
from organseg.errors import DatasetError
from organseg.organs import organ_by_name

GLOSSARY_FILE = BUILT_IN_FOLDER / "glossary.json"
"""The glossary that comes with the package."""

_BOTH_SIDES = {
    "kidneys": ("right kidney", "left kidney"),
    "adrenal_glands": ("right adrenal gland", "left adrenal gland"),
}
_OUT_OF_SCOPE = "out_of_scope"
_FIELDS = frozenset(
    {"description", "source", "licence", "templates", "templates_two", "terms", "sentences"}
)


@dataclass(frozen=True)
class Glossary:
    """Terms by the organs that they point to, and what they are asked with."""

    terms: Mapping[tuple[int, ...], tuple[str, ...]]
    """Terms by organ ids, rising; those of the empty key point to none of the 13 organs."""
    templates: tuple[str, ...]
    """Sentences with one `{term}`."""
    templates_two: tuple[str, ...]
    """Sentences with one `{a}` and one `{b}`."""
    sentences: tuple[str, ...]
    """Plain sentences about medicine and everything else, without a label."""

    def compose(self, chance: random.Random, *, several: float = 0.2) -> Composed:
        """A sentence filled with one term or, in a share `several`, with two topics' terms.

        Topics come equally often, but those without an organ three times as often. Two topics
        are always two of the organs'.
        """
        topics = [topic for topic in self.terms if topic]
        if chance.random() < several:
            one, other = chance.sample(topics, 2)
            text = chance.choice(self.templates_two).format(
                a=chance.choice(self.terms[one]), b=chance.choice(self.terms[other])
            )
            return Composed(text, tuple(sorted({*one, *other})))
        topic = chance.choice([*topics, (), (), ()])
        template = "{term}" if chance.random() < 0.1 else chance.choice(self.templates)
        return Composed(template.format(term=chance.choice(self.terms[topic])), topic)


@dataclass(frozen=True)
class Composed:
    """A question made from the glossary."""

    text: str
    """What is asked."""
    organ_ids: tuple[int, ...]
    """The organs that it asks for, rising; empty where it is out of scope."""


def load_glossary(path: Path = GLOSSARY_FILE) -> Glossary:
    """The glossary of a file.

    Raises:
        DatasetError: the file is not laid out as `files/README.md` says.
    """
    content = read_fields(path, _FIELDS)
    demand_slots(content["templates"], ("{term}",), path)
    demand_slots(content["templates_two"], ("{a}", "{b}"), path)
    return Glossary(
        terms=texts_by_topic(content["terms"], path),
        templates=tuple(content["templates"]),
        templates_two=tuple(content["templates_two"]),
        sentences=tuple(content["sentences"]),
    )


def read_fields(path: Path, fields: frozenset[str]) -> dict[str, Any]:
    """What a file holds; raises `DatasetError` unless it is JSON with just these fields."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"wanted texts in {path.name}, got {error}: mend it") from error
    if set(content) != fields:
        raise DatasetError(
            f"wanted the fields {', '.join(sorted(fields))} in {path.name}, got "
            f"{', '.join(sorted(content))}: see README.md beside it"
        )
    return content


def texts_by_topic(
    texts: Mapping[str, Sequence[str]], path: Path
) -> dict[tuple[int, ...], tuple[str, ...]]:
    """The texts of a file by the organs that they point to, rising; none for `out_of_scope`.

    Raises:
        DatasetError: a topic is unknown, or fewer than two and `out_of_scope` have texts.
    """
    found = {_organ_ids(topic, path): tuple(own) for topic, own in texts.items()}
    if () not in found or len(found) < 3 or not all(found.values()):
        raise DatasetError(
            f"wanted texts of two topics at least and of {_OUT_OF_SCOPE!r} in {path.name}, got "
            f"{', '.join(texts)}: add them"
        )
    return found


def _organ_ids(topic: str, path: Path) -> tuple[int, ...]:
    if topic == _OUT_OF_SCOPE:
        return ()
    try:
        names = _BOTH_SIDES.get(topic, (topic,))
        return tuple(sorted(organ_by_name(name).id for name in names))
    except KeyError:
        raise DatasetError(
            f"wanted topics that are organs, {', '.join(_BOTH_SIDES)} or {_OUT_OF_SCOPE} in "
            f"{path.name}, got {topic!r}: correct it"
        ) from None


def demand_slots(templates: Sequence[str], slots: tuple[str, ...], path: Path) -> None:
    """Raises `DatasetError` unless every template has each slot once, and no other."""
    for template in templates:
        if template.count("{") != len(slots) or any(template.count(slot) != 1 for slot in slots):
            raise DatasetError(
                f"wanted each of {', '.join(slots)} once in every template of {path.name}, got "
                f"{template!r}: correct it"
            )
