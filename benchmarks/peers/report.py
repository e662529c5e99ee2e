"""The comparison as a record and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.load.window import Window
from benchmarks.peers.comparison import Measured, Trial, is_short
from benchmarks.peers.goals import ORGAN_SEG, Goal
from benchmarks.peers.settings import Peer, PeerSettings

_HEADER = (
    "| target | users | requests/s | Organ-Seg is | p50 ms | p95 ms | server CPU s/request "
    "| memory MiB | failed |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
)


def comparison_record(
    measured: Measured,
    goals: Sequence[Goal],
    settings: Mapping[Peer, PeerSettings],
    trials: Sequence[Trial],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The record as plain values; `about` says what was measured, how long and on what."""
    paths = [each["critical_path_ms"] for each in measured.paths]
    return {
        **about,
        "settings": {peer.value: asdict(chosen) for peer, chosen in settings.items()},
        "tuning": [trial.to_json() for trial in trials],
        "windows": [window.to_json() for window in measured.windows],
        "critical_path_ms": median(paths) if paths else None,
        "paths": list(measured.paths),
        "goals": [
            {**asdict(goal), "bound": goal.bound.value, "reached": goal.reached} for goal in goals
        ],
    }


def comparison_tables(
    measured: Measured,
    goals: Sequence[Goal],
    settings: Mapping[Peer, PeerSettings],
    users: int,
    *,
    by_clock: bool,
) -> str:
    """Markdown: medians of the turns with their spread, the settings, and the goals.

    `users` are those of the windows that targets are compared in; `by_clock` says whether windows
    end by the clock, so that their edges cut requests.
    """
    groups: dict[tuple[str, int], list[Window]] = {}
    for window in measured.windows:
        groups.setdefault((window.target, window.users), []).append(window)
    own = {
        window.turn: window
        for window in measured.windows
        if (window.target, window.users) == (ORGAN_SEG, users)
    }
    rows = [_row(windows, own) for windows in groups.values()]
    lines = ["Medians of the turns; in brackets the smallest and the largest.", "", *_HEADER, *rows]
    if measured.paths:
        path = median(each["critical_path_ms"] for each in measured.paths)
        lines += ["", f"In-process critical path: {path:.1f} ms."]
    lines += ["", *(f"- {peer.value}: {chosen}" for peer, chosen in settings.items()), ""]
    if by_clock and any(is_short(window) for window in measured.windows):
        lines += ["**Some windows held fewer than 2 requests per user:** make them longer.", ""]
    lines += ["| measure | goal | value | reached |", "|---|--:|--:|:-:|"]
    lines += [_goal_row(goal) for goal in goals]
    return "\n".join(lines)


def _row(windows: Sequence[Window], own: Mapping[int | None, Window]) -> str:
    first = windows[0]
    latencies = [window.latency for window in windows if window.latency is not None]
    ratios = [
        own[window.turn].per_second / window.per_second
        for window in windows
        if window.turn in own and window.per_second
    ]
    cpu = [window.server_cpu_s_per_answer for window in windows]
    memory = [window.server_memory_mib for window in windows]
    cells = (
        f"{first.target} ({first.mix.value})",
        str(first.users),
        _spread([window.per_second for window in windows], 2),
        _spread(ratios, 2, " ×"),
        _spread([each.p50_ms for each in latencies], 0),
        _spread([each.p95_ms for each in latencies], 0),
        _spread([each for each in cpu if each is not None], 3),
        _spread([each for each in memory if each is not None], 0),
        str(sum(window.failed + window.rejected for window in windows)),
    )
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float], digits: int, unit: str = "") -> str:
    if not values:
        return "–"
    middle, least, most = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return f"{middle}{unit} ({least}–{most})" if len(values) > 1 else f"{middle}{unit}"


def _goal_row(goal: Goal) -> str:
    value = "not measured" if goal.value is None else f"{goal.value:.2f}"
    reached = {None: "–", True: "yes", False: "**no**"}[goal.reached]
    return f"| {goal.measure} | {goal.bound.value} {goal.goal:g} | {value} | {reached} |"
