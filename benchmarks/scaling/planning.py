"""How many servers a rate wants, where the bottleneck moves, and what stickiness costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.scaling.flow import Bound, Flow, Site, bounds
from benchmarks.scaling.formulas import spread_hit_rate
from benchmarks.scaling.load_model import Load, Outcome, Placement, Stickiness
from benchmarks.scaling.simulation import simulate
from organseg.errors import InvalidInputError

BUSIEST = 0.95
"""A pool may be in use so much of the time at most. Above, some percent that a measured time is
off turn a stable queue into one that grows."""
REQUESTS = 3000
"""So many are played for each number of servers that is looked at."""
MOST_SERVERS = 512
"""More are not looked at."""
_RATES = (0.25, 0.5, 1.0, 2.0)
_STEPS = 6


@dataclass(frozen=True)
class Question:
    """What a platform team asks."""

    rate_per_s: float
    """Requests per second, all users together."""
    p95_ms: float
    """95 of 100 answers are to come within this time."""
    hit_rate: float = 0.0
    """Share of requests that are follow-ups about an image that was sent before."""
    think_ms: float = 5000.0
    """From an answer to the user's next question, the mean."""
    stickiness: Stickiness = Stickiness.STICKY
    """Whether follow-ups go to the server that has the image."""
    cores: float = 2.0
    """Cores of a machine; every server has one to itself."""
    gpus: float = 0.0
    """GPUs of a machine."""

    def site(self, servers: int) -> Site:
        """So many servers with a machine each."""
        return Site(servers, servers, self.cores, self.gpus)

    def load(self, rate_per_s: float | None = None) -> Load:
        """The rate asked for, or another one."""
        return Load(
            rate_per_s=rate_per_s or self.rate_per_s,
            hit_rate=self.hit_rate,
            think_ms=self.think_ms,
            stickiness=self.stickiness,
        )


@dataclass(frozen=True)
class Step:
    """One bottleneck and what was added before it."""

    added: str
    """What the server has got since the step before."""
    bottleneck: str
    """The stage, or `cpu` or `gpu`."""
    per_s: float
    """Requests per second of one server at most, batches full."""
    single_per_s: float
    """The same where no request meets another in a batch."""


def servers_for(
    flow: Flow, question: Question, *, rate_per_s: float | None = None, requests: int = REQUESTS
) -> tuple[int, Outcome]:
    """The fewest servers that keep the p95 and stay below `BUSIEST`, and what they do then.

    Raises `InvalidInputError` where a lone request takes longer than the p95 asked for, or where
    `MOST_SERVERS` do not suffice.
    """
    load = question.load(rate_per_s)
    alone_ms = flow.unloaded_ms()
    # Where hardly any request is new, the p95 is one of a follow-up.
    if (1.0 - question.hit_rate) > 0.05 and alone_ms > question.p95_ms:
        raise InvalidInputError(
            f"wanted a p95 of {question.p95_ms:g} ms, a lone request takes {alone_ms:.0f} ms "
            "whatever the number of servers: make the stages faster, or allow more time"
        )
    seen: dict[int, Outcome] = {}

    def enough(servers: int) -> bool:
        seen[servers] = simulate(flow, question.site(servers), load, requests=requests)
        return seen[servers].p95_ms <= question.p95_ms and (
            max(seen[servers].busy.values()) <= BUSIEST
        )

    # A bound to start from: servers that do not stick have fewer hits.
    lowest = bounds(flow, question.site(1), hit_rate=question.hit_rate)[0].per_s
    rate = rate_per_s or question.rate_per_s
    found = _smallest(max(1, math.ceil(rate / lowest)), enough)
    return found, seen[found]


def _smallest(start: int, enough: Callable[[int], bool]) -> int:
    """The smallest number from `start` on for which `enough` holds, if it holds from there on."""
    low, high, step = start - 1, start, 1
    # Asked before anything is played: a huge rate would be played for hours.
    while high > MOST_SERVERS or not enough(high):
        low, high, step = high, high + step, step * 2
        if high > MOST_SERVERS:
            raise InvalidInputError(
                f"wanted a number of servers for this rate and p95, {MOST_SERVERS} may be too few "
                "and no more are looked at: ask for less"
            )
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high


def bottlenecks(
    flow: Flow, site: Site, *, hit_rate: float = 0.0, steps: int = _STEPS
) -> list[Step]:
    """What limits one server, and what does next when just that is added, step by step.

    A stage gets another instance; a machine that is the limit itself gets twice as much.
    """
    found: list[Step] = []
    added = "as it is served"
    for _ in range(steps):
        limit = _tightest(flow, site, hit_rate)
        single = bounds(flow, site, hit_rate=hit_rate, full=False)[0]
        found.append(Step(added, limit.resource, limit.per_s, single.per_s))
        if limit.resource == "cpu":
            site = replace(site, cores=site.cores * 2)
            added = f"{site.cores:g} cores"
        elif limit.resource == "gpu":
            site = replace(site, gpus=site.gpus * 2)
            added = f"{site.gpus:g} GPUs"
        else:
            instances = (flow.stage(limit.resource).instances or 0) + 1
            flow = flow.with_instances(limit.resource, instances)
            added = f"{instances} instances of {limit.resource}"
    return found


def _tightest(flow: Flow, site: Site, hit_rate: float) -> Bound:
    return bounds(flow, site, hit_rate=hit_rate)[0]


def stickiness_costs(
    flow: Flow, question: Question, servers: int, *, requests: int = REQUESTS
) -> list[dict[str, Any]]:
    """The same load on so many servers, by where follow-ups and other requests go."""
    rows: list[dict[str, Any]] = []
    for stickiness, placement in (
        (Stickiness.SHARED, Placement.LEAST_BUSY),
        (Stickiness.STICKY, Placement.LEAST_BUSY),
        (Stickiness.STICKY, Placement.RANDOM),
        (Stickiness.ANY, Placement.LEAST_BUSY),
        (Stickiness.ANY, Placement.RANDOM),
    ):
        load = replace(question.load(), stickiness=stickiness, placement=placement)
        outcome = simulate(flow, question.site(servers), load, requests=requests)
        expected = question.hit_rate
        if stickiness is Stickiness.ANY:
            expected = spread_hit_rate(question.hit_rate, servers)
        rows.append(
            {
                "stickiness": stickiness.value,
                "placement": placement.value,
                "expected_hit_rate": expected,
                **outcome.to_json(),
            }
        )
    return rows


def plan(flow: Flow, question: Question, *, requests: int = REQUESTS) -> dict[str, Any]:
    """The whole answer, as plain values for JSON; raises `InvalidInputError` as `servers_for`."""
    servers, outcome = servers_for(flow, question, requests=requests)
    curve = []
    for share in _RATES:
        rate = question.rate_per_s * share
        count, met = (
            (servers, outcome)
            if share == 1
            else servers_for(flow, question, rate_per_s=rate, requests=requests)
        )
        curve.append({"rate_per_s": rate, "servers": count, "p95_ms": met.p95_ms})
    without = None
    if question.hit_rate > 0:
        without = servers_for(flow, replace(question, hit_rate=0.0), requests=requests)[0]
    machine = question.site(1)
    return {
        "question": {**asdict(question), "stickiness": question.stickiness.value},
        "unloaded_ms": flow.unloaded_ms(),
        "unloaded_kept_ms": flow.unloaded_ms(kept=True),
        "servers": servers,
        "outcome": outcome.to_json(),
        "servers_without_reuse": without,
        "curve": curve,
        "bottlenecks": [
            asdict(step) for step in bottlenecks(flow, machine, hit_rate=question.hit_rate)
        ],
        "stickiness": (
            stickiness_costs(flow, question, servers, requests=requests)
            if question.hit_rate > 0 and servers > 1
            else []
        ),
    }
