"""From single samples to the figures of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.load.questions import FIRST, FOLLOW_UP
from benchmarks.load.window import Latency
from organseg.errors import ServerBusyError

REJECTED = ServerBusyError.__name__
"""The class of what is counted as rejected: queue full, queue timeout, shutting down."""


class Sample(NamedTuple):
    """One request that has ended."""

    ended_at_s: float
    """When, seconds since the epoch."""
    latency_s: float
    """How long it took: from sending, or in an open loop from when it was due."""
    kind: str
    """What the question is to its image (`questions.FIRST`, `FOLLOW_UP`), or empty."""
    error: str
    """The class of the error; empty for an answer."""


@dataclass(frozen=True)
class Figures:
    """What came of the requests that ended within a window."""

    answered: int
    """With an answer."""
    rejected: int
    """Turned away."""
    errors: dict[str, int]
    """Failed otherwise, by class."""
    latency: Latency | None
    """Of the answers."""
    first_latency: Latency | None
    """Of first questions about an image."""
    follow_up_latency: Latency | None
    """Of further ones."""


def figures(samples: Iterable[Sample], begun_at_s: float, ended_at_s: float) -> Figures:
    """The figures of the samples that ended after the window's beginning and by its end."""
    within = [sample for sample in samples if begun_at_s < sample.ended_at_s <= ended_at_s]
    answers = [sample for sample in within if not sample.error]
    errors = Counter(sample.error for sample in within if sample.error)
    rejected = errors.pop(REJECTED, 0)

    def of(kind: str) -> Latency | None:
        return latency([sample.latency_s for sample in answers if sample.kind == kind])

    return Figures(
        len(answers),
        rejected,
        dict(sorted(errors.items())),
        latency([sample.latency_s for sample in answers]),
        of(FIRST),
        of(FOLLOW_UP),
    )


def latency(seconds: Sequence[float]) -> Latency | None:
    """Percentiles of latencies, over each of them; None without any."""
    if not seconds:
        return None
    milliseconds = np.asarray(seconds) * 1e3
    p50_ms, p90_ms, p95_ms, p99_ms = map(float, np.percentile(milliseconds, (50, 90, 95, 99)))
    return Latency(
        p50_ms, p90_ms, p95_ms, p99_ms, float(milliseconds.mean()), float(milliseconds.max())
    )
