"""The goals: each measure beside what it must reach, and by how much it is missed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.goals import USERS, Bound, Goal, MemoryGrowth, TurnPath, goals_of
from benchmarks.report.blocks import Block, Table, Text
from benchmarks.report.page import MISSED, REACHED
from benchmarks.report.records import Kind, PresetRecords
from benchmarks.report.wording import MISSING, named_peers, number, whole
from organseg.contract import ImageFeatures

_NOT_MEASURED = "not measured"


def goals_blocks(records: PresetRecords) -> Iterator[Block]:
    """One row for each goal; nothing where none of them was measured."""
    goals = measured_goals(records)
    if all(goal.value is None for goal in goals):
        return
    reached = sum(goal.reached is True for goal in goals)
    measured = sum(goal.value is not None for goal in goals)
    left = f" {len(goals) - measured} not measured." if measured < len(goals) else ""
    yield Text(
        f"**{reached} of {measured} reached.**{left} Ratios are taken within a turn, in which "
        "every target was measured; the value is the median of the turns."
    )
    yield Table(
        "What must be reached, and what was",
        ("measure", "goal", "measured", "least to most", "turns", "outcome"),
        tuple(
            (
                named_peers(goal.measure),
                goal_text(goal),
                value_text(goal),
                _spread(goal),
                whole(len(goal.turns)),
                outcome(goal),
            )
            for goal in goals
        ),
        text_columns=6,
    )


def measured_goals(records: PresetRecords) -> list[Goal]:
    """The goals by the comparison with peers; what it lacks, by the load tests."""
    peers = records.latest(Kind.PEERS)
    paths = tuple(
        TurnPath(path["turn"], path["critical_path_ms"], path["hops"])
        for path in (peers.document.get("paths", ()) if peers else ())
    )
    memory = _memory(records)
    users = int(peers.document.get("users", USERS)) if peers else USERS
    compared = goals_of(
        records.preset,
        records.peer_windows(),
        paths,
        memory,
        sent_again=_sent_again(records),
        users=users,
    )
    loaded = goals_of(records.preset, records.load_windows())
    return [
        goal if goal.value is not None else other
        for goal, other in zip(compared, loaded, strict=True)
    ]


def goal_text(goal: Goal) -> str:
    """`≥ 1.50`."""
    return f"{goal.bound.value} {_value(goal, goal.goal)}"


def value_text(goal: Goal) -> str:
    """What was measured."""
    return _value(goal, goal.value)


def outcome(goal: Goal) -> str:
    """Whether it is reached, or by how much it is not."""
    if goal.value is None or goal.reached is None:
        return _NOT_MEASURED
    if goal.reached:
        return REACHED
    lacking = goal.goal - goal.value if goal.bound is Bound.AT_LEAST else goal.value - goal.goal
    return f"{MISSED} by {lacking / goal.goal:.0%}" if goal.goal else f"{MISSED} by {lacking:g}"


def _value(goal: Goal, value: float | None) -> str:
    # The one goal that is no ratio counts errors.
    return number(value) if goal.goal else whole(value)


def _spread(goal: Goal) -> str:
    if len(goal.turns) < 2:
        return MISSING
    return f"{_value(goal, min(goal.turns))} to {_value(goal, max(goal.turns))}"


def _sent_again(records: PresetRecords) -> float | None:
    """Of the release that keeps what it computed; None where that was not asked."""
    record = records.latest(Kind.FOLLOW_UP)
    rows = record.document["rows"] if record else ()
    kept = ImageFeatures.REUSE.value
    return next((float(row["ratio"]) for row in rows if row["image_features"] == kept), None)


def _memory(records: PresetRecords) -> MemoryGrowth | None:
    soak = records.latest(Kind.MEMORY_SOAK)
    if soak is None or soak.document["full"] is None:
        return None
    full, end = soak.document["full"], soak.document["end"]
    return MemoryGrowth(float(full["memory_mib"]), float(end["memory_mib"]))
