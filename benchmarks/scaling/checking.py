"""Holds the model against measurement: one server and several on this machine, some users."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.plan import LoadPlan
from benchmarks.load.running import ServerView, run_window
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Mix, Window
from benchmarks.record import RecordError
from benchmarks.scaling.batches import SIZES, measure_batches
from benchmarks.scaling.costs import flow_of
from benchmarks.scaling.flow import Flow, Site
from benchmarks.scaling.load_model import Load, Placement
from benchmarks.scaling.simulation import simulate
from benchmarks.served import Served, serving
from benchmarks.stages import time_stages
from benchmarks.stages_report import stages_record
from benchmarks.workload import make_workload

_WARM_UP = 5


@dataclass(frozen=True)
class CheckPlan:
    """What is measured."""

    servers: tuple[int, ...] = (1, 2)
    """Numbers of servers, all on this machine."""
    users: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of users, each waiting for his answer."""
    seconds: float = 20.0
    """Length of a window."""
    turns: int = 3
    """How often every case comes, one after the other; medians count."""
    requests: int = 50
    """Requests of one user, by which the stages are timed."""
    rounds: int = 5
    """Calls of each stage with each batch size."""


def measure(release: Path, plan: CheckPlan, about: Mapping[str, Any]) -> dict[str, Any]:
    """Times the stages and the batches of a release and puts users on it; the record.

    `about` is `describe_run()` of before. Raises `OrganSegError` where the release cannot be
    served or measured.
    """
    with ExitStack() as stack:
        # An idle one takes memory only.
        servers = [stack.enter_context(serving(release, None)) for _ in range(max(plan.servers))]
        address, known = servers[0].address, servers[0].known
        _say("timing the stages")
        workload = make_workload(_WARM_UP + plan.requests)
        timings = time_stages(
            address, workload.questions[:_WARM_UP], workload.questions[_WARM_UP:], lambda all_: all_
        )
        stages = stages_record(
            timings, workload, _WARM_UP, {"server": known, "machine": about["machine"]}
        )
        _say("timing batches")
        batches = measure_batches(address, known["preset"], sizes=SIZES, rounds=plan.rounds)
        windows: list[Window] = []
        for turn in range(plan.turns):
            for users in plan.users:
                for count in plan.servers:
                    _say(f"turn {turn + 1} of {plan.turns}: {users} users, {count} servers")
                    windows.append(_window(servers[:count], users, plan.seconds, turn))
    document = {
        "benchmark": "scaling",
        **about,
        "server": known,
        "stages_record": stages,
        "batches": [cost.to_json() for cost in batches],
        "windows": [window.to_json() for window in windows],
    }
    return {**document, "check": compare(document)}


def flow_of_check(record: Mapping[str, Any], *, follow_up_share: float | None = None) -> Flow:
    """The flow that a record of `measure` describes; raises `RecordError` for another record."""
    try:
        windows = [Window.from_json(window) for window in record["windows"]]
        spent = [
            (window.client_cpu_s + (window.server_cpu_s or 0.0)) / window.answered
            for window in windows
            if window.more.get("servers") == 1 and window.users == 1 and window.answered
        ]
        return flow_of(
            record["stages_record"],
            record["batches"],
            cpu_s_per_request=median(spent) if spent else None,
            follow_up_share=follow_up_share,
        )
    except KeyError as error:
        raise RecordError(
            f"wanted a record of `scaling check --json`, one without {error} came: measure again"
        ) from None


def compare(record: Mapping[str, Any], *, requests: int = 4000) -> list[dict[str, Any]]:
    """Every case of users and servers: what was measured, what the model says, and their ratio."""
    flow = flow_of_check(record)
    cores = float(record["machine"]["cores"])
    cases: dict[tuple[int, int], list[Window]] = {}
    for document in record["windows"]:
        window = Window.from_json(document)
        cases.setdefault((int(window.more["servers"]), window.users), []).append(window)
    rows = []
    for (servers, users), windows in sorted(cases.items()):
        outcome = simulate(
            flow,
            Site(servers, machines=1, cores=cores),
            Load(users=users, placement=Placement.IN_TURN),
            requests=requests,
        )
        answered = [window for window in windows if window.latency is not None]
        measured = {
            "per_s": _median([window.per_second for window in windows]),
            "p50_ms": _median([w.latency.p50_ms for w in answered if w.latency]),
            "p95_ms": _median([w.latency.p95_ms for w in answered if w.latency]),
        }
        predicted = {name: float(getattr(outcome, name)) for name in measured}
        rows.append(
            {
                "servers": servers,
                "users": users,
                "windows": len(windows),
                "errors": sum(window.failed + window.rejected for window in windows),
                "measured": measured,
                "predicted": predicted,
                "ratio": {
                    name: predicted[name] / value if value else None
                    for name, value in measured.items()
                },
            }
        )
    return rows


def _window(servers: Sequence[Served], users: int, seconds: float, turn: int) -> Window:
    addresses = ",".join(server.address for server in servers)
    # The processors of several servers are not read: one says what a request costs.
    session = servers[0].session if len(servers) == 1 else None
    window = run_window(
        TargetSpec(TargetKind.ORGAN_SEG, addresses),
        LoadPlan(Mix.DISTINCT, users=users, seconds=seconds),
        ServerView(session),
    )
    return replace(window, turn=turn, more={"servers": len(servers)})


def _median(values: Sequence[float]) -> float:
    return float(median(values)) if values else 0.0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
