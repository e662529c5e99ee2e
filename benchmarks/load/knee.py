"""The knee: how far a server can be loaded before more users only wait longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

LATENCY_FACTOR = 2.0
"""p95 may grow to so many times that of the lowest level."""
LEAST_GAIN = 0.10
"""A step up must bring so much more throughput, as a share."""
DEFINITION = (
    "The knee is the last level, walking up from the lowest, whose p95 is at most "
    f"{LATENCY_FACTOR:g} × that of the lowest level and whose throughput is at least "
    f"{LEAST_GAIN:.0%} above that of the level before it."
)


class Bound(Enum):
    """What ends the walk upwards."""

    LATENCY = f"the next level's p95 is more than {LATENCY_FACTOR:g} × that of the lowest"
    THROUGHPUT = f"the next level brings less than {LEAST_GAIN:.0%} more throughput"
    NOT_REACHED = "the highest level measured is not past it"


@dataclass(frozen=True)
class Level:
    """What was measured at one load."""

    load: float
    """Users at once, or requests sent per second."""
    per_second: float
    """Requests answered per second."""
    p95_ms: float
    """95 of 100 answers took no longer, milliseconds."""


@dataclass(frozen=True)
class Knee:
    """Where it lies and why there."""

    level: Level
    """The last level before the server has had enough."""
    bound: Bound
    """Why the next one is past it."""


def find_knee(levels: Sequence[Level]) -> Knee | None:
    """The knee of one sweep, by `DEFINITION`; None of fewer than two levels.

    The levels may come in any order. A level with no answers has `per_second` 0 and is past it.
    """
    walked = sorted(levels, key=lambda level: level.load)
    if len(walked) < 2:
        return None
    for level, after in pairwise(walked):
        if after.p95_ms > LATENCY_FACTOR * walked[0].p95_ms:
            return Knee(level, Bound.LATENCY)
        if after.per_second < (1.0 + LEAST_GAIN) * level.per_second:
            return Knee(level, Bound.THROUGHPUT)
    return Knee(walked[-1], Bound.NOT_REACHED)
