"""The README's table of speed: a few measures and every goal, one column for each preset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load.window import Loop, Mix
from benchmarks.peers.goals import CROWDS, ORGAN_SEG, USERS
from benchmarks.peers.settings import Peer
from benchmarks.report.blocks import Table
from benchmarks.report.goals_section import goal_text, measured_goals, outcome, value_text
from benchmarks.report.markdown import table_lines
from benchmarks.report.records import PresetRecords, Record, read_records
from benchmarks.report.sweeps import LoadLevel, Sweep, p95, sweeps_of, turn_ratio
from benchmarks.report.wording import (
    MISSING,
    commit,
    counted,
    load_of,
    milliseconds,
    named_peers,
    number,
    peer_of,
)

PRESETS = ("tiny", "medsam")
"""The folders of records, in the order of the columns."""
NOTHING = "Nothing was measured yet: `make bench` does, and says where its report lies."
"""What stands in the README where there is no record."""

_ALONE, _SEVERAL, _MANY = 1, USERS, CROWDS * USERS
_Measure = Callable[[PresetRecords], str]


def render_scoreboard(results: Path) -> str:
    """The table and where it comes from, as Markdown.

    Args:
        results: holds a folder of records for each preset.

    Raises:
        RecordError: a file there is no record.
    """
    paths = [path for preset in PRESETS for path in sorted((results / preset).glob("*.json"))]
    presets = read_records(paths)
    if not presets:
        return NOTHING
    goals = [measured_goals(records) for records in presets]
    rows = [
        *((name, MISSING, *map(measure, presets)) for name, measure in _MEASURES),
        *(
            (
                named_peers(row[0].measure),
                _one_text([goal_text(goal) for goal in row]),
                *(f"{value_text(goal)} {_mark(outcome(goal))}".strip() for goal in row),
            )
            for row in zip(*goals, strict=True)
        ),
    ]
    head = ("", "goal", *(f"`{records.preset}`" for records in presets))
    table = Table("", head, tuple(rows), text_columns=2)
    return "\n".join([*table_lines(table), "", *map(_source, presets)])


def _rate(users: int) -> _Measure:
    return lambda records: (
        number(level.per_second) if (level := _level(records, users)) else MISSING
    )


def _p50(users: int) -> _Measure:
    def measure(records: PresetRecords) -> str:
        level = _level(records, users)
        return milliseconds(level.latency(lambda latency: latency.p50_ms) if level else None)

    return measure


def _p95(users: int) -> _Measure:
    def measure(records: PresetRecords) -> str:
        level = _level(records, users)
        return milliseconds(level.latency(p95) if level else None)

    return measure


def _knee(records: PresetRecords) -> str:
    sweep = _sweep(records)
    knee = sweep.knee if sweep else None
    return load_of(Loop.CLOSED, knee.level.load) if knee else MISSING


def _against(peer: Peer) -> _Measure:
    """Ours to a peer's throughput; no goal is set for those that serve our own graphs."""

    def measure(records: PresetRecords) -> str:
        sweeps = sweeps_of(records.peer_windows())
        ours, theirs = _own(sweeps), _own(sweeps, peer.value)
        level = ours.at(USERS) if ours else None
        if level is None or theirs is None:
            return MISSING
        return number(turn_ratio(level, theirs.levels[0], lambda window: window.per_second))

    return measure


_MEASURES: tuple[tuple[str, _Measure], ...] = (
    *((f"answers per second, {load_of(Loop.CLOSED, users)}", _rate(users))
      for users in (_ALONE, _SEVERAL, _MANY)),
    (f"p50 in ms, {load_of(Loop.CLOSED, _ALONE)}", _p50(_ALONE)),
    (f"p95 in ms, {load_of(Loop.CLOSED, _ALONE)}", _p95(_ALONE)),
    (f"p95 in ms, {load_of(Loop.CLOSED, _SEVERAL)}", _p95(_SEVERAL)),
    ("the knee: the last step with a p95 of at most 2 × one user's and 10 % more answers", _knee),
    *((f"throughput at {USERS} users, distinct images, vs {peer_of(peer.value)}", _against(peer))
      for peer in (Peer.FASTAPI_GRAPHS, Peer.IN_PROCESS)),
)  # fmt: skip
"""All of distinct images, whole requests; by the comparison's turns, else by the load test."""


def _sweep(records: PresetRecords) -> Sweep | None:
    """Rising users on distinct images, by the load test."""
    return _own(sweeps_of(records.load_windows()))


def _level(records: PresetRecords, users: int) -> LoadLevel | None:
    for sweep in (_own(sweeps_of(records.peer_windows())), _sweep(records)):
        level = sweep.at(users) if sweep else None
        if level:
            return level
    return None


def _own(sweeps: Sequence[Sweep], target: str = ORGAN_SEG) -> Sweep | None:
    wanted = (target, Mix.DISTINCT, Loop.CLOSED)
    return next((s for s in sweeps if (s.target, s.mix, s.loop) == wanted), None)


def _one_text(texts: Sequence[str]) -> str:
    """The goal of a row: presets may have different ones."""
    return " / ".join(dict.fromkeys(texts))


def _mark(said: str) -> str:
    return {"reached": "✓", "not measured": ""}.get(said, f"({said})")


def _source(records: PresetRecords) -> str:
    """Where a column comes from; of records made elsewhere or of other code, what and where."""
    newest = max(records.records, key=lambda record: str(record.run["made"]))
    turns = {window.turn for window in records.peer_windows()}
    compared = f", {counted(len(turns), 'turn')} with the peers" if turns else ""
    others: dict[str, dict[str, None]] = {}
    for record in records.records:
        if _making(record) != _making(newest):
            others.setdefault(_making(record), {})[record.kind.value] = None
    apart = "".join(f"; {', '.join(kinds)}: {making}" for making, kinds in others.items())
    return f"- `{records.preset}`: {_making(newest)}, {newest.run['made']}{compared}{apart}"


def _making(record: Record) -> str:
    machine = record.run["machine"]
    return (
        f"{machine['cpu']}, {counted(machine['cores'], 'core')} for server and clients together, "
        f"commit {commit(record.run['commit'])}"
    )
