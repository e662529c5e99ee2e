"""The knee: the last level before users only wait longer."""

from __future__ import annotations

import pytest

from benchmarks.load.knee import Bound, Knee, Level, find_knee


def levels(*measured: tuple[float, float, float]) -> list[Level]:
    return [Level(*each) for each in measured]


def test_where_p95_more_than_doubles_the_level_before_it_is_the_knee():
    found = levels((1, 10, 100), (2, 18, 150), (4, 25, 200), (8, 33, 201))
    assert find_knee(found) == Knee(found[2], Bound.LATENCY)


def test_where_throughput_stands_still_the_level_before_is_the_knee():
    found = levels((1, 10, 100), (2, 19, 105), (4, 20.8, 190), (8, 30, 195))
    assert find_knee(found) == Knee(found[1], Bound.THROUGHPUT)


def test_a_gain_of_exactly_the_least_goes_on():
    found = levels((1, 10, 100), (2, 11, 200))
    assert find_knee(found) == Knee(found[1], Bound.NOT_REACHED)


def test_the_order_of_the_levels_does_not_matter():
    found = levels((8, 33, 900), (1, 10, 100), (4, 25, 190))
    assert find_knee(found) == Knee(found[2], Bound.LATENCY)


def test_a_level_without_answers_is_past_the_knee():
    found = levels((1, 10, 100), (2, 0, float("inf")))
    assert find_knee(found) == Knee(found[0], Bound.LATENCY)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_levels_have_no_knee(count):
    assert find_knee(levels((1, 10, 100))[:count]) is None
