"""Requests of an open loop: when they are due, whatever the answers do."""

from __future__ import annotations

import pytest

from benchmarks.load.schedule import Schedule
from benchmarks.load.sweep import open_users


def test_a_late_request_is_due_when_it_was_and_so_are_those_behind_it() -> None:
    schedule = Schedule(begin_s=100.0, period_s=2.0, phase=0.5)
    assert schedule.wait_s(100.0) == pytest.approx(1.0)
    assert schedule.take() == pytest.approx(101.0)
    # Its answer came 5 s later: the next two were due meanwhile and are sent at once, and each
    # has waited since it was due.
    now_s = 106.0
    assert schedule.wait_s(now_s) == 0
    assert now_s - schedule.take() == pytest.approx(3.0)
    assert schedule.wait_s(now_s) == 0
    assert now_s - schedule.take() == pytest.approx(1.0)
    assert schedule.wait_s(now_s) == pytest.approx(1.0)


def test_all_users_together_ask_at_the_rate_and_at_different_moments() -> None:
    schedules = [Schedule.of_user(0.0, 8, 4.0, f"seed {user}") for user in range(8)]
    due_s = sorted(schedule.take() for schedule in schedules for _ in range(10))
    # Ten periods of 8 / 4 s.
    assert all(0 <= due < 20 for due in due_s)
    assert [sum(2 * turn <= due < 2 * (turn + 1) for due in due_s) for turn in range(10)] == [
        8
    ] * 10
    assert len(set(due_s)) == len(due_s)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    one, other = (Schedule.of_user(0.0, 2, 1.0, "7 0 1") for _ in range(2))
    assert one.due_s == other.due_s


@pytest.mark.parametrize(("rate", "users"), [(0.5, 16), (10.0, 40), (1000.0, 256)])
def test_an_open_loop_has_users_enough_for_answers_of_four_seconds(rate: float, users: int) -> None:
    assert open_users(rate) == users
