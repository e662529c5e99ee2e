"""Typos: the same question as a hurried hand would type it, the same for the same seed."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from organseg.data.questions.question import Question, QuestionKind

_NEIGHBOUR_KEYS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip
"""Each letter's neighbours in its row of a QWERTY keyboard."""

_WORD = re.compile(r"[A-Za-z]{4,}")


def with_typos(question: Question, seed: int) -> Question:
    """The question mistyped (`mistype`), of kind `TYPO`; organs and fact stay."""
    return replace(question, text=mistype(question.text, seed), kind=QuestionKind.TYPO)


def mistype(text: str, seed: int) -> str:
    """The text with one or two slips of the hand.

    A slip swaps two letters, drops one, doubles one or hits the key beside it, inside a word of
    four letters or more: an abbreviation such as "GB" or "IVC" would become another one. A
    text without such a word is repeated letter for letter. Only `seed` and the text decide.
    """
    chance = random.Random(f"{seed}:{text}")
    for _ in range(chance.choice((1, 1, 2))):
        words = list(_WORD.finditer(text))
        if not words:
            break
        word = chance.choice(words)
        text = text[: word.start()] + _slip(word.group(), chance) + text[word.end() :]
    return text


def _slip(word: str, chance: random.Random) -> str:
    """The word with one slip behind its first letter; always another word than before."""
    place = chance.randrange(1, len(word))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    slips = [before + after, before + letter + letter + after]
    slips += [before + key + after for key in _NEIGHBOUR_KEYS[letter.lower()]]
    if place + 1 < len(word) and word[place + 1] != letter:
        slips.append(before + after[0] + letter + after[1:])
    return chance.choice(slips)
