"""Turns are rotated, windows are long enough, and the best settings are taken."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.window import Mix
from benchmarks.peers.comparison import PATH, Item, Length, Trial, best, estimate_s, items_of
from benchmarks.peers.contenders import Field
from benchmarks.peers.settings import Peer, PeerOrder, PeerSettings, default_settings, grid
from benchmarks.peers.turns import in_turns, rotated

COSTS = {"organ_seg": 4.0, "fastapi_torch": 15.0}
"""Seconds of a request."""


def test_another_item_is_first_in_every_turn() -> None:
    assert [rotated("abc", turn) for turn in range(4)] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("a", "b", "c"),
    ]


def test_every_item_is_measured_once_a_turn() -> None:
    found = list(in_turns("abc", 3))
    assert sorted(found) == [(turn, item) for turn in range(3) for item in "abc"]


def test_a_window_by_requests_holds_one_of_each_user_at_least() -> None:
    length = Length(seconds=None, requests=12)
    wanted = {1: 6, 8: 12, 32: 32, 5: 12}
    for users, requests in wanted.items():
        compared = 8 if users != 5 else 5
        plan = length.plan(Item("organ_seg", users), compared, WorkloadSpec())
        assert (plan.requests, plan.warm_up) == (requests, 0)


def test_a_window_by_seconds_is_longer_for_a_crowd_alone() -> None:
    length = Length(seconds=3.0, requests=None)
    wanted = {1: 3.0, 8: 3.0, 32: 12.0}
    for users, seconds in wanted.items():
        plan = length.plan(Item("x", users), 8, WorkloadSpec())
        assert (plan.seconds, plan.warm_up) == (seconds, 2)


def test_every_target_answers_once_for_the_estimate() -> None:
    asked = []

    class Slow:
        def __init__(self, name: str, each_s: float) -> None:
            self.name, self.each_s = name, each_s

        def window(self, plan, progress):
            asked.append((self.name, plan.users, plan.requests))
            return SimpleNamespace(seconds=plan.requests * self.each_s)

    field = Field({name: Slow(name, each_s) for name, each_s in COSTS.items()}, path=None)
    items = (*(Item(name, 8) for name in COSTS), Item(PATH, 1))
    length = Length(seconds=None, requests=16)
    found = estimate_s(field, items, 8, length, WorkloadSpec())
    assert asked == [("organ_seg", 1, 1), ("fastapi_torch", 1, 1)]
    # The path is a user's alone: half as many of ours.
    least = 16 * sum(COSTS.values()) + 8 * COSTS["organ_seg"]
    assert least < found < 1.2 * least


def test_a_turn_measures_everybody_at_the_same_users_and_the_server_alone_and_crowded() -> None:
    names = ("organ_seg", "organ_seg_session", "fastapi_torch")
    field = Field(dict.fromkeys(names), path=None)  # type: ignore[arg-type]
    items = items_of(field, 8)
    assert [(item.target, item.users) for item in items] == [
        ("organ_seg", 8),
        ("fastapi_torch", 8),
        ("organ_seg", 1),
        ("organ_seg_session", 1),
        ("organ_seg", 32),
    ]
    assert [item.mix for item in items].count(Mix.SESSIONS) == 1
    assert PATH not in {item.target for item in items}
    assert items_of(field, 8, throughput_only=True) == items[:2]


def test_the_fastest_settings_that_failed_nothing_are_taken() -> None:
    slow, fast, broken = (PeerSettings(threads=threads) for threads in (1, 2, 3))
    trials = [
        Trial(Peer.FASTAPI_TORCH, slow, 1.0, failed=0),
        Trial(Peer.FASTAPI_TORCH, fast, 2.0, failed=0),
        Trial(Peer.FASTAPI_TORCH, broken, 3.0, failed=1),
        Trial(Peer.LITSERVE_TORCH, slow, 9.0, failed=0),
    ]
    assert best(trials, Peer.FASTAPI_TORCH) == fast


@pytest.mark.parametrize("peer", list(Peer))
@pytest.mark.parametrize("cores", [1, 2, 8])
def test_a_grid_is_small_has_no_setting_twice_and_begins_with_the_default(
    peer: Peer, cores: int
) -> None:
    settings = grid(peer, cores)
    assert 1 < len(settings) <= 6 or cores == 1
    assert len(set(settings)) == len(settings)
    assert settings[0] == default_settings(peer, cores)


def test_an_order_reaches_the_process_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    order = PeerOrder(
        Peer.LITSERVE_TORCH,
        Path("/release"),
        None,
        PeerSettings(threads=2, workers=3, batch=4, batch_timeout_s=0.5),
        port=1234,
    )
    for name, value in order.to_environment().items():
        monkeypatch.setenv(name, value)
    assert PeerOrder.from_environment() == order
