"""Phrases: names and clues of every topic, and the many sentences that people put them into.

A name fits behind "the" ("spleen", "portal vein"), a clue behind "the organ that" ("stores
bile"). Names times clues times sentences are far more questions than anyone writes, so a small
model meets every clue in many sentences and every sentence with many clues. Topics without an
organ come as close to the 13 organs as words can: other vessels, ducts and bowels. For training
alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from organseg.data.questions.glossary import (
    Composed,
    demand_slots,
    read_fields,
    texts_by_topic,
)
from organseg.data.questions.loader import BUILT_IN_FOLDER

PHRASES_FILE = BUILT_IN_FOLDER / "phrases.json"
"""The phrases that come with the package."""

_SLOTS = {
    "name_templates": ("{name}",),
    "clue_templates": ("{clue}",),
    "clue_templates_both": ("{clue}",),
    "clue_nouns": ("{clue}",),
    "clue_nouns_both": ("{clue}",),
    "templates_two": ("{a}", "{b}"),
    "templates_three": ("{a}", "{b}", "{c}"),
}
_FIELDS = frozenset({"description", "source", "licence", "names", "clues", *_SLOTS})

Topic = tuple[int, ...]
"""The organs that a phrase points to, rising; empty for none of the 13."""

_OUT_OF_SCOPE_SHARE = 0.3
"""Share of questions for one topic whose topic is none of the organs."""
_NAME_SHARE = 0.4
"""Share of questions for one topic that call it by a name."""
_NOUN_SHARE = 0.25
"""Share of the clues that stand as a noun ("the organ that ...") in a sentence made for names."""


@dataclass(frozen=True)
class Phrases:
    """Names and clues by topic, and what they are put into."""

    names: Mapping[Topic, tuple[str, ...]]
    """What follows "the": "spleen", "kidney on the left"."""
    clues: Mapping[Topic, tuple[str, ...]]
    """What follows "the organ that": "stores bile". Of both sides together in the plural."""
    templates: Mapping[str, tuple[str, ...]]
    """Sentences by the field of the file that they stand in."""

    def compose(self, chance: random.Random, *, several: float = 0.3) -> Composed:
        """A question for one topic or, in a share `several`, for two or three topics of organs."""
        if chance.random() < several:
            return self._several(chance)
        organs = [topic for topic in self.clues if topic]
        topic = () if chance.random() < _OUT_OF_SCOPE_SHARE else chance.choice(organs)
        if chance.random() < _NAME_SHARE and topic in self.names:
            return Composed(self._named(chance.choice(self.names[topic]), chance), topic)
        clue = chance.choice(self.clues[topic])
        if chance.random() < _NOUN_SHARE:
            return Composed(self._named(self._noun(topic, clue, chance), chance), topic)
        field = "clue_templates_both" if len(topic) > 1 else "clue_templates"
        return Composed(chance.choice(self.templates[field]).format(clue=clue), topic)

    def _several(self, chance: random.Random) -> Composed:
        organs = [topic for topic in self.clues if topic]
        field, count = chance.choice((("templates_two", 2), ("templates_three", 3)))
        topics = chance.sample(organs, count)
        # Mostly all by name or all by clue, as one person asks.
        share = 0.9 if chance.random() < 0.7 else 0.2
        nouns = [
            self._noun_of(topic, by_name=chance.random() < share, chance=chance) for topic in topics
        ]
        text = chance.choice(self.templates[field]).format(**dict(zip("abc", nouns, strict=False)))
        return Composed(text, tuple(sorted({organ for topic in topics for organ in topic})))

    def _noun_of(self, topic: Topic, *, by_name: bool, chance: random.Random) -> str:
        """A noun phrase with its article, where it takes one."""
        if by_name and topic in self.names:
            name = chance.choice(self.names[topic])
            return name if chance.random() < 0.3 or _stands_alone(name) else f"the {name}"
        return self._noun(topic, chance.choice(self.clues[topic]), chance)

    def _noun(self, topic: Topic, clue: str, chance: random.Random) -> str:
        field = "clue_nouns_both" if len(topic) > 1 else "clue_nouns"
        return chance.choice(self.templates[field]).format(clue=clue)

    def _named(self, name: str, chance: random.Random) -> str:
        template = chance.choice(self.templates["name_templates"])
        if _stands_alone(name):
            template = re.sub(r"\bthe (?=\{name\})", "", template, flags=re.IGNORECASE)
        return template.format(name=name)


def load_phrases(path: Path = PHRASES_FILE) -> Phrases:
    """The phrases of a file.

    Raises:
        DatasetError: the file is not laid out as `files/README.md` says.
    """
    content = read_fields(path, _FIELDS)
    for field, slots in _SLOTS.items():
        demand_slots(content[field], slots, path)
    return Phrases(
        names=texts_by_topic(content["names"], path),
        clues=texts_by_topic(content["clues"], path),
        templates={field: tuple(content[field]) for field in _SLOTS},
    )


def _stands_alone(noun: str) -> bool:
    """Whether a noun phrase brings its own article."""
    return noun.split(" ", 1)[0].casefold() in _ARTICLES


_ARTICLES = frozenset(("the", "a", "an", "both", "whatever", "what", "whichever", "that", "this"))
