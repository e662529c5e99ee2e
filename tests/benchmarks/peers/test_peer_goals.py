"""The goals are computed from the windows of the same turn."""

from __future__ import annotations

import pytest

from benchmarks.load.samples import latency
from benchmarks.load.window import Loop, Mix, Window
from benchmarks.peers.goals import (
    ORGAN_SEG,
    ORGAN_SEG_SESSION,
    Bound,
    Goal,
    MemoryGrowth,
    TurnPath,
    goals_of,
)


def window(target: str, users: int, turn: int, per_second: float = 1.0, **more: object) -> Window:
    values: dict[str, object] = {
        "mix": Mix.DISTINCT,
        "loop": Loop.CLOSED,
        "rate_per_s": None,
        "seconds": 10.0,
        "answered": int(10 * per_second),
        "rejected": 0,
        "errors": {},
        "latency": latency([0.1]),
        "client_cpu_s": 1.0,
        "server_cpu_s": 10.0,
        "server_memory_mib": None,
    }
    return Window(target, users=users, turn=turn, per_second=per_second, **{**values, **more})  # type: ignore[arg-type]


def goal_of(goals: list[Goal], words: str) -> Goal:
    (found,) = [goal for goal in goals if words in goal.measure]
    return found


def test_a_ratio_is_taken_within_each_turn_and_its_median_counts() -> None:
    own = [window(ORGAN_SEG, 8, turn, rate) for turn, rate in enumerate((4.0, 2.0, 9.0))]
    peer = [window("fastapi_torch", 8, turn, rate) for turn, rate in enumerate((2.0, 1.0, 3.0))]
    # Another number of users, and an open loop, are no part of it.
    others = [window(ORGAN_SEG, 1, 0, 50.0), window(ORGAN_SEG, 8, 0, 50.0, loop=Loop.OPEN)]
    goal = goal_of(goals_of("tiny", [*own, *peer, *others]), "fastapi_torch")
    assert goal.turns == (2.0, 2.0, 3.0)
    assert goal.value == 2.0
    assert goal.goal == 1.5
    assert goal.reached is True


def test_a_larger_preset_must_win_by_more() -> None:
    windows = [window(ORGAN_SEG, 8, 0, 1.7), window("fastapi_torch", 8, 0, 1.0)]
    assert goal_of(goals_of("tiny", windows), "fastapi_torch").reached is True
    assert goal_of(goals_of("medsam", windows), "fastapi_torch").reached is False


def test_a_turn_without_its_other_half_is_left_out() -> None:
    windows = [window(ORGAN_SEG, 8, 0, 3.0), window("litserve_torch", 8, 1, 1.0)]
    goal = goal_of(goals_of("tiny", windows), "litserve_torch")
    assert goal.value is None
    assert goal.reached is None


def test_processor_seconds_are_compared_by_answer() -> None:
    windows = [
        window(ORGAN_SEG, 8, 0, 2.0, server_cpu_s=10.0),
        window("in_process", 2, 0, 4.0, server_cpu_s=16.0),
    ]
    goal = goal_of(goals_of("tiny", windows), "CPU-seconds")
    assert goal.value == pytest.approx(0.5 / 0.4)
    assert goal.reached is True


def test_hops_are_granted_their_milliseconds_above_the_critical_path() -> None:
    windows = [window(ORGAN_SEG, 1, 0, latency=latency([0.135]))]
    paths = [TurnPath(turn=0, critical_path_ms=100.0, hops=5)]
    goal = goal_of(goals_of("tiny", windows, paths), "critical path")
    assert goal.value == pytest.approx(1.25)
    assert goal.bound is Bound.AT_MOST


def test_a_follow_up_is_compared_with_the_first_question_of_its_window() -> None:
    session = window(
        ORGAN_SEG_SESSION,
        1,
        0,
        mix=Mix.SESSIONS,
        first_latency=latency([0.2]),
        follow_up_latency=latency([0.05]),
    )
    assert goal_of(goals_of("tiny", [session]), "in a session").value == pytest.approx(0.25)


def test_a_follow_up_that_sends_its_image_again_has_a_goal_of_its_own() -> None:
    goals = goals_of("tiny", [], sent_again=0.4)
    assert goal_of(goals, "sent again").reached is False
    assert goal_of(goals, "in a session").reached is None


def test_a_crowd_must_neither_slow_the_server_down_nor_be_turned_away() -> None:
    windows = [
        window(ORGAN_SEG, 4, 0, 2.0),
        window(ORGAN_SEG, 16, 0, 1.9, rejected=1, errors={"ServerFaultError": 2}),
    ]
    goals = goals_of("tiny", windows, users=4)
    assert goal_of(goals, "throughput at 16 users").value == pytest.approx(0.95)
    errors = goal_of(goals, "errors at 16 users")
    assert errors.value == 3.0
    assert errors.reached is False


def test_memory_is_compared_with_that_of_full_caches() -> None:
    goals = goals_of("tiny", [], memory=MemoryGrowth(full_mib=1000.0, end_mib=1040.0))
    assert goal_of(goals, "memory").reached is False


def test_nothing_measured_reaches_nothing() -> None:
    goals = goals_of("tiny", [])
    assert len(goals) == 9
    assert {goal.reached for goal in goals} == {None}
