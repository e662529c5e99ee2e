"""The comparison: every target's windows in turns, and the tuning of the peers before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.window import Mix, Window
from benchmarks.peers.contenders import Field, contender_of
from benchmarks.peers.goals import CROWDS, ORGAN_SEG, ORGAN_SEG_SESSION, TurnPath
from benchmarks.peers.process import PeerProcess
from benchmarks.peers.settings import Peer, PeerOrder, PeerSettings, grid
from benchmarks.peers.turns import in_turns

LEAST_PER_USER = 2
"""Requests that a window must hold for each user: else it tells of its edges alone."""
_START_S = 4.0
"""What the load process needs to start, about."""
PATH = "critical path"
"""The item that is no window: stages in process, one after the other."""

Told = Callable[[str], None]
"""Hears what is measured next."""


@dataclass(frozen=True)
class Item:
    """What is measured once in every turn."""

    target: str
    """Who is asked, or `PATH`."""
    users: int
    """Users at once."""
    mix: Mix = Mix.DISTINCT
    """Which images and questions."""

    def __str__(self) -> str:
        """In words, for a progress bar."""
        return f"{self.target}, {self.users} users"


@dataclass(frozen=True)
class Length:
    """How long windows are: give one of them."""

    seconds: float | None
    """By the clock."""
    requests: int | None
    """By the requests of a window that targets are compared in."""

    def plan(self, item: Item, users: int, workload: WorkloadSpec) -> LoadPlan:
        """The window of an item; `users` are those of the windows that targets are compared in.

        By requests: one user gets half as many, a crowd one each at least. All are in the window,
        from the first that is sent to the last that is answered. By the clock a crowd gets longer,
        so that each of its users is answered as often.
        """
        seconds, requests = self.seconds, self.requests
        if seconds is not None:
            seconds *= max(1.0, item.users / users)
        if requests is not None:
            share = requests if item.users >= users else requests // 2
            requests = max(item.users, share)
        return LoadPlan(
            mix=item.mix,
            users=item.users,
            seconds=seconds,
            requests=requests,
            warm_up=0 if requests is not None else 2,
            workload=workload,
        )


@dataclass(frozen=True)
class Trial:
    """One try of the tuning."""

    peer: Peer
    """Whose."""
    settings: PeerSettings
    """What it was started with."""
    per_second: float
    """Answers per second."""
    failed: int
    """Requests that failed."""

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "peer": self.peer.value}


@dataclass(frozen=True)
class Measured:
    """What a comparison gave."""

    windows: tuple[Window, ...]
    """Of all targets, each with its turn, in the order in which they were measured."""
    paths: tuple[Mapping[str, Any], ...]
    """Of each turn: `turn`, `critical_path_ms`, `hops`, `stages_ms`, `path`, and
    `cpu_s_per_request`."""

    @property
    def turn_paths(self) -> tuple[TurnPath, ...]:
        """The paths as the goals want them."""
        return tuple(
            TurnPath(each["turn"], each["critical_path_ms"], each["hops"]) for each in self.paths
        )


def items_of(field: Field, users: int, *, throughput_only: bool = False) -> tuple[Item, ...]:
    """What a turn measures: every target at `users`, and what the goals ask of Organ-Seg alone.

    With `throughput_only` the first of these alone.
    """
    items = [Item(name, users) for name in field.contenders if name != ORGAN_SEG_SESSION]
    if throughput_only:
        return tuple(items)
    items.append(Item(ORGAN_SEG, 1))
    if field.path is not None:
        items.append(Item(PATH, 1))
    if ORGAN_SEG_SESSION in field.contenders:
        items.append(Item(ORGAN_SEG_SESSION, 1, Mix.SESSIONS))
    items.append(Item(ORGAN_SEG, CROWDS * users))
    return tuple(dict.fromkeys(items))


def compare(
    field: Field,
    items: Sequence[Item],
    users: int,
    turns: int,
    length: Length,
    workload: WorkloadSpec,
    told: Told = lambda _: None,
    keep: Callable[[Measured], None] = lambda _: None,
) -> Measured:
    """Measures every item once a turn, another one first each time.

    `users` are those of the windows that targets are compared in. `told` hears what is measured
    next; `keep` is given all that there is after each item, so that a failure after hours does not
    lose them.

    Raises `OrganSegError` where a window as a whole fails; failed requests are in the windows.
    """
    windows: list[Window] = []
    paths: list[Mapping[str, Any]] = []
    for turn, item in in_turns(items, turns):
        told(f"turn {turn + 1}: {item}")
        plan = length.plan(item, users, workload)
        if item.target == PATH:
            assert field.path is not None
            found = field.path.path(plan)
            path_ms = sum(found["stages_ms"][name] for name in found["path"])
            paths.append(
                {
                    "turn": turn,
                    "critical_path_ms": path_ms,
                    "hops": len(found["path"]),
                    "stages_ms": found["stages_ms"],
                    "path": found["path"],
                    "cpu_s_per_request": found["cpu_s_per_request"],
                }
            )
        else:
            window = field.contenders[item.target].window(plan, lambda _: None)
            windows.append(replace(window, turn=turn))
        keep(Measured(tuple(windows), tuple(paths)))
    return Measured(tuple(windows), tuple(paths))


def estimate_s(
    field: Field, items: Sequence[Item], users: int, length: Length, workload: WorkloadSpec
) -> float:
    """About how many seconds a turn takes, by one request that every target answers.

    That wakes the targets, too, one worker of each.
    """
    each_s: dict[str, float] = {}
    for target, mix in {item.target: item.mix for item in items if item.target != PATH}.items():
        probe = LoadPlan(mix=mix, requests=1, warm_up=0, workload=workload)
        each_s[target] = field.contenders[target].window(probe, lambda _: None).seconds
    each_s[PATH] = each_s[ORGAN_SEG]
    total_s = 0.0
    for item in items:
        plan = length.plan(item, users, workload)
        if plan.requests is not None:
            window_s = plan.requests * each_s[item.target]
        else:
            # Of each user some go ahead, and one is under way at the end.
            around_s = (plan.warm_up + 1) * item.users * each_s[item.target]
            window_s = (plan.seconds or 0.0) + around_s
        total_s += window_s + _START_S
    return total_s


def is_short(window: Window) -> bool:
    """Whether a window by the clock held too few requests to mean much."""
    return window.answered < LEAST_PER_USER * window.users


def tune(
    release: Path,
    checkpoint: Path | None,
    peers: Sequence[Peer],
    cores: int,
    users: int,
    length: Length,
    workload: WorkloadSpec,
    told: Told = lambda _: None,
) -> list[Trial]:
    """Tries every setting of each peer's grid in a window of its own, alone on the machine."""
    trials = []
    for peer in peers:
        for settings in grid(peer, cores):
            told(f"{peer.value}: {settings}")
            with PeerProcess(PeerOrder(peer, release, checkpoint, settings)) as process:
                plan = length.plan(Item(peer.value, users), users, workload)
                # Just started: a first request of each user wakes it.
                plan = replace(plan, warm_up=max(1, plan.warm_up))
                window = contender_of(process).window(plan, lambda _: None)
            trials.append(Trial(peer, settings, window.per_second, window.failed))
    return trials


def best(trials: Sequence[Trial], peer: Peer) -> PeerSettings:
    """The settings with the most answers per second; one that failed requests is not taken."""
    own = [trial for trial in trials if trial.peer is peer]
    sound = [trial for trial in own if not trial.failed] or own
    return max(sound, key=lambda trial: trial.per_second).settings
