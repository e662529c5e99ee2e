"""The verdicts: what an answer says of one organ that was asked for (the paper's I_out)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Verdict(str, Enum):
    """The verdict on one asked organ; its value is the word that clients see."""

    SEGMENTED = "segmented"
    """The organ is in the image: its mask and box follow."""
    ABSENT_IN_IMAGE = "absent_in_image"
    """A real organ of the 13 that this image does not show: the mask is blank."""
    OUT_OF_SCOPE = "out_of_scope"
    """The question asks for none of the 13 organs: one entry, organ "none", blank mask."""

    @property
    def code(self) -> int:
        """The number that stands for the verdict in the tensor `verdicts` between stages."""
        return _CODES[self]

    @classmethod
    def from_code(cls, code: int) -> Verdict:
        """The verdict of this code; raises `KeyError` for any other number."""
        return _VERDICTS[int(code)]


_VERDICTS = {1: Verdict.SEGMENTED, 2: Verdict.ABSENT_IN_IMAGE, 3: Verdict.OUT_OF_SCOPE}
_CODES = {verdict: code for code, verdict in _VERDICTS.items()}

PADDING = 0
"""The organ id and verdict code of an entry that only pads K to one of `PROMPT_COUNTS`."""

PROMPT_COUNTS = (1, 2, 4, 13)
"""The values of K that the mask decoder sees; `gate` pads to the next of them."""


def padded_count(count: int) -> int:
    """The smallest of `PROMPT_COUNTS` that holds `count` prompts (1 to 13)."""
    for size in PROMPT_COUNTS:
        if 1 <= count <= size:
            return size
    raise ValueError(f"wanted 1 to {PROMPT_COUNTS[-1]} prompts, got {count}")


def summarise(verdicts: Iterable[Verdict]) -> Verdict:
    """The whole answer's verdict: segmented if any organ was, else absent, else out of scope."""
    found = set(verdicts)
    for verdict in (Verdict.SEGMENTED, Verdict.ABSENT_IN_IMAGE):
        if verdict in found:
            return verdict
    return Verdict.OUT_OF_SCOPE
