"""What the comparison must reach: each measure beside its goal, from the windows of a record.

Ratios are taken within a turn, where what else the machine does hits both sides alike; the value
of a measure is the median of its turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from benchmarks.load.window import Loop, Mix, Window
from benchmarks.peers.settings import Peer

ORGAN_SEG = "organ_seg"
"""The target that is compared: image and question over gRPC."""
ORGAN_SEG_SESSION = "organ_seg_session"
"""The same server, an image opened and then asked about."""

USERS = 8
"""Users of the windows that targets are compared in."""
CROWDS = 4
"""How many times as many the crowded window has: 32 of 8."""
FOLLOW_UP_SHARE = 0.35
"""What part of the first question's time one more about the same image may take."""
HOP_MS = 2.0
"""What a stage on the critical path may add to the time of its work."""


class Bound(Enum):
    """Which side of the goal is the good one."""

    AT_LEAST = "≥"
    """The value must not be smaller."""
    AT_MOST = "≤"
    """The value must not be larger."""


@dataclass(frozen=True)
class Goal:
    """One measure and whether it reaches its goal."""

    measure: str
    """What is measured, in words."""
    bound: Bound
    """Whether the goal is a floor or a ceiling."""
    goal: float
    """The number to reach."""
    value: float | None
    """What was measured, the median of the turns; None where nothing was."""
    turns: tuple[float, ...]
    """The value of each turn, in their order."""

    @property
    def reached(self) -> bool | None:
        """Whether the value is on the good side; None where nothing was measured."""
        if self.value is None:
            return None
        if self.bound is Bound.AT_LEAST:
            return self.value >= self.goal
        return self.value <= self.goal


@dataclass(frozen=True)
class TurnPath:
    """The in-process critical path of one turn."""

    turn: int
    """Which turn."""
    critical_path_ms: float
    """The milliseconds of a request whose two branches run side by side."""
    hops: int
    """Stages on the path."""


@dataclass(frozen=True)
class MemoryGrowth:
    """What the command for memory measured."""

    full_mib: float
    """The server's memory once its caches are full."""
    end_mib: float
    """The same after all requests."""


FACTORS: Mapping[str, Mapping[Peer, float]] = {
    "medsam": {Peer.FASTAPI_TORCH: 2.0, Peer.LITSERVE_TORCH: 1.5},
    "tiny": {Peer.FASTAPI_TORCH: 1.5, Peer.LITSERVE_TORCH: 1.2},
}
"""By preset, how many times the throughput of a peer is wanted; of others that of `medsam`."""

_Values = list[float]


def goals_of(
    preset: str,
    windows: Sequence[Window],
    paths: Sequence[TurnPath] = (),
    memory: MemoryGrowth | None = None,
    *,
    sent_again: float | None = None,
    users: int = USERS,
) -> list[Goal]:
    """The goals in their order; one that nothing was measured for has no value.

    Args:
        preset: the release's.
        windows: of the comparison, each with its turn; closed loops alone count.
        paths: the critical path of each turn.
        memory: of the command that watches memory, where it was run.
        sent_again: a follow-up's share of a first request's time where its image is sent again, of
            the command `follow-up`, where it was run.
        users: of the windows that targets are compared in.
    """
    closed = [window for window in windows if window.loop is Loop.CLOSED]
    many_users = CROWDS * users
    factors = FACTORS.get(preset, FACTORS["medsam"])
    found = [
        _goal(
            f"throughput at {users} users, distinct images, vs {peer.value}",
            Bound.AT_LEAST,
            factor,
            _per_turn(
                _by_turn(closed, ORGAN_SEG, users),
                _by_turn(closed, peer.value, None),
                lambda own, other: _ratio(own.per_second, other.per_second),
            ),
        )
        for peer, factor in factors.items()
    ]
    found.append(
        _goal(
            "server CPU-seconds per request vs in process",
            Bound.AT_MOST,
            1.25,
            _per_turn(
                _by_turn(closed, ORGAN_SEG, users),
                _by_turn(closed, Peer.IN_PROCESS.value, None),
                lambda own, other: _ratio(
                    own.server_cpu_s_per_answer, other.server_cpu_s_per_answer
                ),
            ),
        )
    )
    found.append(
        _goal(
            f"p50 at 1 user, less {HOP_MS:g} ms per hop, vs the in-process critical path",
            Bound.AT_MOST,
            1.25,
            _above_path(_by_turn(closed, ORGAN_SEG, 1), paths),
        )
    )
    found.append(
        _goal(
            "follow-up question in a session vs its first, which opens it, p50",
            Bound.AT_MOST,
            FOLLOW_UP_SHARE,
            _follow_ups(closed),
        )
    )
    found.append(
        _goal(
            "follow-up question with its image sent again vs the first, p50",
            Bound.AT_MOST,
            FOLLOW_UP_SHARE,
            [] if sent_again is None else [sent_again],
        )
    )
    many = _by_turn(closed, ORGAN_SEG, many_users)
    found.append(
        _goal(
            f"throughput at {many_users} users vs {users}",
            Bound.AT_LEAST,
            0.95,
            _per_turn(
                many,
                _by_turn(closed, ORGAN_SEG, users),
                lambda own, other: _ratio(own.per_second, other.per_second),
            ),
        )
    )
    # Turned away is not answered either: both count against a server that must not collapse.
    failures = [float(window.failed + window.rejected) for window in many.values()]
    found.append(
        Goal(
            f"errors at {many_users} users, of all turns",
            Bound.AT_MOST,
            0.0,
            sum(failures) if failures else None,
            tuple(failures),
        )
    )
    growth = [] if memory is None else [memory.end_mib / memory.full_mib]
    found.append(
        _goal(
            "memory after 10,000 mixed requests vs after the caches are full",
            Bound.AT_MOST,
            1.03,
            growth,
        )
    )
    return found


def _goal(measure: str, bound: Bound, goal: float, values: Iterable[float]) -> Goal:
    turns = tuple(values)
    return Goal(measure, bound, goal, median(turns) if turns else None, turns)


def _by_turn(windows: Sequence[Window], target: str, users: int | None) -> dict[int | None, Window]:
    """A target's windows of distinct images, by turn; `users` is None where it has one number."""
    return {
        window.turn: window
        for window in windows
        if window.target == target
        and window.mix is Mix.DISTINCT
        and (users is None or window.users == users)
    }


def _per_turn(
    own: Mapping[int | None, Window],
    other: Mapping[int | None, Window],
    ratio: Callable[[Window, Window], float | None],
) -> _Values:
    values = (ratio(own[turn], other[turn]) for turn in own if turn in other)
    return [value for value in values if value is not None]


def _ratio(own: float | None, other: float | None) -> float | None:
    return None if own is None or not other else own / other


def _above_path(own: Mapping[int | None, Window], paths: Sequence[TurnPath]) -> _Values:
    values: _Values = []
    for path in paths:
        window = own.get(path.turn)
        if window is not None and window.latency is not None:
            work_ms = window.latency.p50_ms - HOP_MS * path.hops
            values.append(work_ms / path.critical_path_ms)
    return values


def _follow_ups(windows: Sequence[Window]) -> _Values:
    return [
        window.follow_up_latency.p50_ms / window.first_latency.p50_ms
        for window in windows
        if window.target == ORGAN_SEG_SESSION
        and window.users == 1
        and window.first_latency is not None
        and window.follow_up_latency is not None
    ]
