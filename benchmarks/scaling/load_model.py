"""What is asked of the modelled servers, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from benchmarks.scaling.flow import ModelError, Pool


class Stickiness(Enum):
    """Where the further questions of a session go."""

    STICKY = "sticky"
    """To the server that has its image."""
    ANY = "any"
    """To any server, which may have to encode the image anew."""
    SHARED = "shared"
    """To any server, and all know what one has kept: nothing built here does this. It parts the
    cost of uneven load from that of encoding anew."""


class Placement(Enum):
    """Which server is taken where any may be."""

    LEAST_BUSY = "least busy"
    """The one with the fewest requests under way, as seen by a proxy before all servers."""
    RANDOM = "random"
    """Any with the same probability."""
    IN_TURN = "in turn"
    """One after the other, each user for himself: what our client does with several addresses
    while it waits for one answer at a time."""


@dataclass(frozen=True)
class Load:
    """Users that each wait for their answer, or arrivals at a rate: one of the two."""

    users: int | None = None
    """Users at once."""
    rate_per_s: float | None = None
    """Requests per second: sessions open as a Poisson process."""
    hit_rate: float = 0.0
    """Share of questions that are follow-ups: after each the session goes on so often."""
    think_ms: float = 0.0
    """From an answer to the user's next question, the mean of an exponential time."""
    stickiness: Stickiness = Stickiness.STICKY
    """Where follow-ups go."""
    placement: Placement = Placement.LEAST_BUSY
    """Where others go."""

    def __post_init__(self) -> None:
        """Refuses both or neither, and a hit rate that no session could have."""
        if (self.users is None) == (self.rate_per_s is None):
            raise ModelError("wanted users or a rate, got both or neither")
        if not 0.0 <= self.hit_rate < 1.0:
            raise ModelError(f"wanted a hit rate from 0 to below 1, got {self.hit_rate}")

    @property
    def sessions_per_ms(self) -> float:
        """How often a session opens, for an open loop."""
        return (self.rate_per_s or 0.0) * (1.0 - self.hit_rate) / 1e3


@dataclass(frozen=True)
class Outcome:
    """What a load met."""

    per_s: float
    """Answers per second."""
    mean_ms: float
    """Mean latency."""
    p50_ms: float
    """Its median."""
    p95_ms: float
    """What 95 of 100 keep within."""
    hit_rate: float
    """Share of requests whose image the server asked had kept."""
    present: float
    """Requests under way, the mean over time."""
    batches: Mapping[str, float]
    """Mean batch of every stage."""
    execution_ms: Mapping[str, float]
    """Mean time of a batch in every stage, slowed down by the others on its pool."""
    busy: Mapping[Pool, float]
    """Share of each pool that was in use."""

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        document = dict(self.__dict__)
        return {**document, "busy": {pool.value: share for pool, share in self.busy.items()}}


def summarise_outcome(
    answers: Sequence[tuple[float, float, bool]],
    elapsed_ms: float,
    *,
    present: float,
    batches: Mapping[str, float],
    execution_ms: Mapping[str, float],
    busy: Mapping[Pool, float],
) -> Outcome:
    """The outcome of answers (latency, moment, kept), which came within `elapsed_ms`."""
    latencies = np.array([latency for latency, _, _ in answers])
    p50, p95 = (float(value) for value in np.percentile(latencies, (50, 95)))
    return Outcome(
        per_s=len(answers) * 1e3 / elapsed_ms,
        mean_ms=float(latencies.mean()),
        p50_ms=p50,
        p95_ms=p95,
        hit_rate=sum(kept for _, _, kept in answers) / len(answers),
        present=present,
        batches=dict(batches),
        execution_ms=dict(execution_ms),
        busy=dict(sorted(busy.items(), key=lambda item: item[0].value)),
    )
