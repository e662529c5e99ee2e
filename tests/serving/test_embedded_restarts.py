"""How often the embedded server is started again."""

from __future__ import annotations

from organseg.serving.embedded.restarts import RESTARTS_WITHIN_S, Restarts


def test_only_so_many_starts_are_given_within_ten_minutes() -> None:
    restarts = Restarts(2)
    assert [restarts.take(served_s) for served_s in (0.0, 1.0, 2.0)] == [True, True, False]


def test_what_lies_further_back_does_not_count() -> None:
    restarts = Restarts(2)
    for served_s in (0.0, 500.0):
        assert restarts.take(served_s)
    assert restarts.take(RESTARTS_WITHIN_S + 1.0)
    assert not restarts.take(RESTARTS_WITHIN_S + 2.0)


def test_none_may_be_wanted() -> None:
    assert not Restarts(0).take(0.0)
