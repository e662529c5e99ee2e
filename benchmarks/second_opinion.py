"""The same users twice, by locust and by `perf_analyzer`, and whether both measure the same.

Both send the same images and questions to the same server, by turns, so that what else the
machine does hits both. They are compared by the median over the turns of what each measured, up
to the knee: beyond it answers wait in the server's queues, and a small difference in when they
are asked is a large one in how long they wait.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.load.knee import Level, find_knee

TOLERANCE = 0.15
"""How far two load generators may differ, as a part of the larger one."""


class Opinion(NamedTuple):
    """What one load generator measured in one turn."""

    per_second: float
    """Answers per second."""
    p50_ms: float
    """The median latency."""
    p95_ms: float
    """What 95 of 100 keep within: the knee asks for it, and it is not compared."""


@dataclass(frozen=True)
class Comparison:
    """So many users, by both."""

    users: int
    """Users at once."""
    locust: Opinion
    """Medians over the turns."""
    perf_analyzer: Opinion
    """The same by the other."""
    is_within_knee: bool
    """Whether they must agree: these users are not past the knee, by what locust measured."""

    @property
    def rate_difference(self) -> float:
        """How far the rates differ, as a part of the larger one."""
        return _difference(self.locust.per_second, self.perf_analyzer.per_second)

    @property
    def latency_difference(self) -> float:
        """How far the medians of the latency differ, as a part of the larger one."""
        return _difference(self.locust.p50_ms, self.perf_analyzer.p50_ms)

    @property
    def agrees(self) -> bool:
        """Whether both are within the tolerance."""
        return max(self.rate_difference, self.latency_difference) <= TOLERANCE


def compare(
    locust: Sequence[tuple[int, Opinion]], perf_analyzer: Sequence[tuple[int, Opinion]]
) -> list[Comparison]:
    """One comparison per number of users that both measured, from pairs of users and opinion."""
    levels = sorted({users for users, _ in locust} & {users for users, _ in perf_analyzer})
    first = {users: _median(locust, users) for users in levels}
    second = {users: _median(perf_analyzer, users) for users in levels}
    knee = find_knee(
        [Level(users, first[users].per_second, first[users].p95_ms) for users in levels]
    )
    # A single level has no knee, and nobody else to wait for.
    most = knee.level.load if knee else math.inf
    return [Comparison(users, first[users], second[users], users <= most) for users in levels]


def agree(comparisons: Sequence[Comparison]) -> bool:
    """Whether both agree wherever they must: up to the knee."""
    return all(one.agrees for one in comparisons if one.is_within_knee)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Markdown: one row per number of users, and the verdict."""
    lines = [
        "| users | locust: answers/s | perf_analyzer | differ | p50, ms | perf_analyzer | differ "
        "| up to the knee | agree |",
        "|--:|--:|--:|--:|--:|--:|--:|---|---|",
    ]
    lines += [
        f"| {one.users} | {one.locust.per_second:.2f} | {one.perf_analyzer.per_second:.2f} "
        f"| {100 * one.rate_difference:.1f} % | {one.locust.p50_ms:.1f} "
        f"| {one.perf_analyzer.p50_ms:.1f} | {100 * one.latency_difference:.1f} % "
        f"| {_yes(one.is_within_knee)} | {_yes(one.agrees)} |"
        for one in comparisons
    ]
    verdict = "agree" if agree(comparisons) else "do not agree"
    return "\n".join([*lines, "", f"Up to the knee they {verdict} within {100 * TOLERANCE:.0f} %."])


def _median(measured: Sequence[tuple[int, Opinion]], users: int) -> Opinion:
    own = [opinion for level, opinion in measured if level == users]
    return Opinion(
        statistics.median(opinion.per_second for opinion in own),
        statistics.median(opinion.p50_ms for opinion in own),
        statistics.median(opinion.p95_ms for opinion in own),
    )


def _difference(one: float, other: float) -> float:
    larger = max(one, other)
    return abs(one - other) / larger if larger else 0.0


def _yes(value: bool) -> str:
    return "yes" if value else "no"
