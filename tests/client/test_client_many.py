"""`segment_many` through both clients, on fakes: order, failures apart, how many at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from client_fakes import FakeTransport, Gate
from scenarios import IMAGE, QUESTION, Open

from organseg import errors
from organseg_client import (
    SegmentRequest,
)


def test_outcomes_come_in_order_and_failures_stay_with_their_request(open_calls: Open) -> None:
    calls = open_calls(FakeTransport())
    requests = [
        (IMAGE, QUESTION),
        (IMAGE, "  "),
        SegmentRequest(IMAGE, QUESTION, window=(1, 0)),
        SegmentRequest(IMAGE[:8], QUESTION, request_id="last"),
    ]
    outcomes = list(calls.each(calls.client.segment_many(requests)))
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]
    assert [type(outcome.error) for outcome in outcomes] == [
        type(None),
        errors.QuestionError,
        errors.WindowError,
        type(None),
    ]
    assert outcomes[0].unwrap() is outcomes[0].result
    with pytest.raises(errors.QuestionError):
        outcomes[1].unwrap()
    assert outcomes[3].result.request_id == "last"
    assert outcomes[3].result.masks.shape[1:] == (8, 24)
    assert outcomes[3].request is requests[3]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_run_at_once_as_wanted_and_never_more(concurrency: int, open_calls: Open) -> None:
    gate = Gate(wanted=concurrency)
    calls = open_calls(FakeTransport(gate=gate))
    outcomes = calls.client.segment_many([(IMAGE, QUESTION)] * 9, concurrency=concurrency)
    assert [outcome.index for outcome in calls.each(outcomes)] == list(range(9))
    assert gate.peak == concurrency


def test_requests_are_taken_when_there_is_room_for_them(open_calls: Open) -> None:
    taken = 0

    def endless() -> Iterator[tuple[Any, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield IMAGE, QUESTION

    calls = open_calls(FakeTransport())
    outcomes = calls.client.segment_many(endless(), concurrency=3)
    assert taken == 0
    for given, outcome in enumerate(itertools.islice(calls.each(outcomes), 10)):
        assert outcome.index == given
        assert taken <= given + 3
    calls.close(outcomes)
    assert list(calls.each(outcomes)) == []


def test_one_at_a_time_a_request_may_depend_on_the_outcome_before_it(open_calls: Open) -> None:
    seen: list[int] = []

    def conversation() -> Iterator[tuple[Any, str]]:
        for turn in range(4):
            yield IMAGE, QUESTION
            assert len(seen) == turn + 1

    calls = open_calls(FakeTransport())
    for outcome in calls.each(calls.client.segment_many(conversation(), concurrency=1)):
        seen.append(outcome.index)
    assert seen == [0, 1, 2, 3]


def test_an_error_of_the_requests_comes_behind_the_outcomes_before_it(open_calls: Open) -> None:
    def broken() -> Iterator[Any]:
        yield IMAGE, QUESTION
        yield IMAGE, QUESTION
        raise OSError("the disk is gone")

    calls = open_calls(FakeTransport())
    outcomes = calls.each(calls.client.segment_many(broken()))
    assert [next(outcomes).index, next(outcomes).index] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(outcomes)


@pytest.mark.parametrize("item", [IMAGE, None, (IMAGE,), "scan.png"])
def test_a_request_that_is_none_is_refused(item: Any, open_calls: Open) -> None:
    calls = open_calls(FakeTransport())
    with pytest.raises(errors.InvalidInputError, match="SegmentRequest or as"):
        list(calls.each(calls.client.segment_many([item])))


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "two"])
def test_a_concurrency_that_is_none_is_refused_at_once(concurrency: Any, open_calls: Open) -> None:
    with pytest.raises(errors.InvalidInputError, match="wanted a concurrency"):
        open_calls(FakeTransport()).client.segment_many([], concurrency=concurrency)


def test_no_requests_have_no_outcomes(open_calls: Open) -> None:
    fake = FakeTransport()
    calls = open_calls(fake)
    assert list(calls.each(calls.client.segment_many(iter(())))) == []
    assert fake.calls == []
