"""Near copies: which held-out questions are too much like a training question.

The measure, between 0 and 1, is the larger of two, both taken after folding case, accents and
punctuation:

- the Jaccard index of the sets of content words without their endings (order, small words and
  inflection do not count), which finds reordered and padded copies;
- the Dice index of the sets of character trigrams, which finds mistyped copies.

1 is the same question. Measured on the built-in set: a question and itself after `with_typos`
reach 0.91 in the median and 0.69 at the first percentile; two questions for one organ from two
facts reach 0.14 in the median and 0.55 at the 99th percentile. The threshold of 0.6 lies between.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.data.questions.question import Question
from organseg.organs import ORGANS

DEFAULT_THRESHOLD = 0.6
"""From this similarity on a held-out question counts as a near copy."""

_SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can could do does for from give has have i in into is it its me "
        "my of on one or please show so than that the this to what where which who will with you "
        "your",
    )
)
_PLURALS = ("kidney", "adrenal gland", "suprarenal gland", "adrenal", "suprarenal")
_NAMES = sorted(
    {name for organ in ORGANS for name in (organ.name, *organ.synonyms)}
    | {f"{name}{ending}" for name in _PLURALS for ending in ("", "s")}
    | {"gall bladder", "vena cava", "renal", "hepatic", "splenic", "gastric", "pancreatic"},
    key=len,
    reverse=True,
)
_NAME = re.compile(
    r"\b(" + "|".join(re.escape(name.casefold()) for name in _NAMES) + r")\b", re.UNICODE
)
_ENDING = re.compile(r"(?<=\w{3})(ing|ed|es|s|e)$")
_SIDE = re.compile(r"\b(right|left)\b")


@dataclass(frozen=True)
class NearCopy:
    """A held-out question and the training question that it is too much like."""

    held_out: Question
    """The question to be reworded or dropped."""
    train: Question
    """The training question most like it."""
    similarity: float
    """Their similarity, 0 to 1."""


def fold(text: str) -> str:
    """The text in lower case without accents and punctuation, its words parted by one blank."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return " ".join(re.findall(r"[a-z0-9]+", letters))


def template_of(text: str) -> str:
    """The text folded, with every organ's name as `<organ>` and every side as `<side>`.

    "Where is the left kidney?" and "Where is the spleen?" share a template.
    """
    masked = _SIDE.sub("SIDE", _NAME.sub("ORGAN", text.casefold()))
    return fold(masked).replace("side organ", "organ").replace("organ", "<organ>")


def similarity(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1 (the measure of this module's docstring)."""
    words = _jaccard(_words(one), _words(other))
    trigrams = _dice(_trigrams(one), _trigrams(other))
    return max(words, trigrams)


def near_copies(
    train: Sequence[Question],
    held_out: Sequence[Question],
    threshold: float = DEFAULT_THRESHOLD,
) -> tuple[NearCopy, ...]:
    """The held-out questions as like a training question as `threshold` or more.

    Each comes once, with the training question most like it, the worst first. Raises
    `ValueError` for a threshold outside (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"wanted a threshold above 0 and up to 1, got {threshold}")
    by_words = _Index([_words(question.text) for question in train])
    by_trigrams = _Index([_trigrams(question.text) for question in train])
    found = []
    for question in held_out:
        words, trigrams = _words(question.text), _trigrams(question.text)
        scores = np.maximum(by_words.jaccard(words), by_trigrams.dice(trigrams))
        best = scores.max(initial=0.0)
        if best >= threshold:
            # Of equal ones, the last.
            index = int(np.flatnonzero(scores == best)[-1])
            found.append(NearCopy(question, train[index], float(best)))
    return tuple(sorted(found, key=lambda copy: -copy.similarity))


class _Index:
    """Many sets, and which of them hold which item: one set is compared with all at once."""

    def __init__(self, sets: Sequence[Collection[str]]) -> None:
        self._sizes = np.array([len(items) for items in sets], dtype=np.int64)
        holders: dict[str, list[int]] = defaultdict(list)
        for index, items in enumerate(sets):
            for item in items:
                holders[item].append(index)
        self._holders = {item: np.array(found) for item, found in holders.items()}

    def jaccard(self, items: Collection[str]) -> npt.NDArray[np.float64]:
        """The Jaccard index of the items with every set, as `_jaccard`."""
        shared = self._shared(items)
        return np.divide(shared, np.maximum(len(items) + self._sizes - shared, 1))

    def dice(self, items: Collection[str]) -> npt.NDArray[np.float64]:
        """The Dice index of the items with every set, as `_dice`."""
        return np.divide(2 * self._shared(items), np.maximum(len(items) + self._sizes, 1))

    def _shared(self, items: Collection[str]) -> npt.NDArray[np.int64]:
        """How many of the items every set holds."""
        held = [self._holders[item] for item in items if item in self._holders]
        return np.bincount(
            np.concatenate(held) if held else np.zeros(0, dtype=np.int64),
            minlength=len(self._sizes),
        )


def _words(text: str) -> frozenset[str]:
    words = fold(text).split()
    content = [word for word in words if word not in _SMALL_WORDS]
    # A question of small words only ("Who are you?") is compared by them.
    return frozenset(_ENDING.sub("", word) for word in content or words)


def _trigrams(text: str) -> frozenset[str]:
    padded = f" {fold(text)} "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0
