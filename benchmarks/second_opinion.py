"""The same users twice, by locust and by `perf_analyzer`, and whether both measure the same.

Both send the same images and questions to the same server, by turns, so that what else the
machine does hits both. They are compared by the median over the turns of what each measured, up
to the knee: beyond it answers wait in the server's queues, and a small difference in when they
are asked is a large one in how long they wait.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

TOLERANCE = 0.15
"""How far two load generators may differ, as a part of the larger one."""

_KNEE_SHARE = 0.9


class Opinion(NamedTuple):
    """What one load generator measured in one turn."""

    per_second: float
    """Answers per second."""
    p50_ms: float
    """The median latency."""


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
    """Whether fewer users than these do not yet reach the best rate."""

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
    knee = knee_of([(users, first[users].per_second) for users in levels])
    return [Comparison(users, first[users], second[users], users <= knee) for users in levels]


def knee_of(rates: Sequence[tuple[int, float]]) -> int:
    """The fewest users whose rate is nearly the best: more of them only wait longer.

    Takes pairs of users and answers per second; at least one.
    """
    best = max(rate for _, rate in rates)
    return min(users for users, rate in rates if rate >= _KNEE_SHARE * best)


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
    )


def _difference(one: float, other: float) -> float:
    larger = max(one, other)
    return abs(one - other) / larger if larger else 0.0


def _yes(value: bool) -> str:
    return "yes" if value else "no"
