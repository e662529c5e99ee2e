"""What both clients do, on fakes: each scenario is run through the sync and the async one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from client_fakes import Calls, FakeTransport, Gate
from scenarios import BUSY, DEAD, FAULT, IMAGE, QUESTION, UNREACHABLE, Open, inferences

from organseg import errors
from organseg.contract import ENSEMBLE_NAME, Verdict
from organseg_client import (
    InferenceRequest,
    InferenceResponse,
    RetryPolicy,
)
from organseg_client.core.streaming import stream_responses


def test_a_question_is_answered_with_server_and_timings(open_calls: Open) -> None:
    result = open_calls(FakeTransport()).call("segment", IMAGE, QUESTION, request_id="7")
    assert result.verdict is Verdict.SEGMENTED
    assert (result.request_id, result.server) == ("7", "server-0:8001")
    timings = result.timings
    assert timings.attempts == 1
    assert result.seconds == timings.round_trip_s
    parts = (timings.encode_s, timings.connect_s, timings.round_trip_s)
    assert all(part > 0 for part in parts)
    assert sum(parts) <= timings.total_s


@pytest.mark.parametrize("error", [BUSY, UNREACHABLE, DEAD], ids=lambda error: type(error).__name__)
def test_what_may_pass_is_tried_again(error: errors.OrganSegError, open_calls: Open) -> None:
    fake = FakeTransport(failures=deque([error, error]))
    result = open_calls(fake).call("segment", IMAGE, QUESTION)
    assert result.timings.attempts == 3
    assert inferences(fake) == [3]
    assert len({request.request_id for request in fake.requests}) == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInputError("no"),
        errors.ImageError("no"),
        errors.AuthenticationError("no"),
        errors.ContractError("no"),
        errors.DeadlineExceededError("no"),
        FAULT,
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_not_tried_again(
    error: errors.OrganSegError, open_calls: Open
) -> None:
    fakes = [FakeTransport(failure=error), FakeTransport(failure=error)]
    with pytest.raises(type(error)) as caught:
        open_calls(*fakes).call("segment", IMAGE, QUESTION)
    assert caught.value is error
    assert sum(inferences(*fakes)) == 1


def test_the_policy_says_how_often_and_the_last_error_is_raised(open_calls: Open) -> None:
    fake = FakeTransport(failures=deque([UNREACHABLE, DEAD, BUSY, None]))
    policy = RetryPolicy(attempts=3, first_wait_s=0)
    with pytest.raises(errors.ServerBusyError):
        open_calls(fake, retry=policy).call("segment", IMAGE, QUESTION)
    assert inferences(fake) == [3]


def test_the_deadline_holds_over_all_attempts(open_calls: Open) -> None:
    fake = FakeTransport(failure=BUSY)
    patient = RetryPolicy(attempts=1000, first_wait_s=1e6, longest_wait_s=1e6)
    with pytest.raises(errors.ServerBusyError):
        open_calls(fake, retry=patient).call("segment", IMAGE, QUESTION, deadline_s=5)
    # The pause would have outlasted the deadline (but for one chance in 200,000).
    assert inferences(fake) == [1]
    assert all(0 < seconds <= 5 for seconds in fake.deadlines_s)


def test_each_attempt_is_given_what_is_left_of_the_deadline(open_calls: Open) -> None:
    fake = FakeTransport(failures=deque([BUSY, BUSY]))
    open_calls(fake).call("segment", IMAGE, QUESTION, deadline_s=5)
    left = [request.deadline_s for request in fake.requests]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 3
    assert left[0] < 5


def test_another_server_takes_over_at_once_whatever_the_policy_pauses(open_calls: Open) -> None:
    down, up = FakeTransport(failure=UNREACHABLE), FakeTransport()
    slow = RetryPolicy(first_wait_s=1e6, longest_wait_s=1e6)
    calls = open_calls(down, up, retry=slow)
    result = calls.call("segment", IMAGE, QUESTION)
    assert (result.server, result.timings.attempts) == ("server-1:8001", 2)
    # It rests: the next questions do not go by it.
    for _ in range(3):
        assert calls.call("segment", IMAGE, QUESTION).timings.attempts == 1
    assert inferences(down, up) == [1, 4]


def test_a_server_that_is_not_ready_is_passed_over_until_it_is(open_calls: Open) -> None:
    loading, up = FakeTransport(ready=False), FakeTransport()
    calls = open_calls(loading, up)
    assert calls.call("segment", IMAGE, QUESTION).server == "server-1:8001"
    loading.ready, up.failure = True, UNREACHABLE
    assert calls.call("segment", IMAGE, QUESTION).server == "server-0:8001"


def test_servers_that_are_well_share_the_questions(open_calls: Open) -> None:
    fakes = [FakeTransport(), FakeTransport(), FakeTransport()]
    calls = open_calls(*fakes)
    for _ in range(6):
        calls.call("segment", IMAGE, QUESTION)
    assert inferences(*fakes) == [2, 2, 2]


def test_the_least_busy_server_is_asked(open_calls: Open) -> None:
    gate = Gate(wanted=4)
    fakes = [FakeTransport(gate=gate), FakeTransport(gate=gate)]
    calls = open_calls(*fakes)
    results = calls.together("segment", [(IMAGE, QUESTION)] * 4)
    assert len(results) == 4
    assert inferences(*fakes) == [2, 2]


def test_a_server_is_asked_what_it_speaks_once_however_many_call_first(open_calls: Open) -> None:
    fake = FakeTransport(gate=Gate(wanted=6))
    calls = open_calls(fake)
    assert len(calls.together("segment", [(IMAGE, QUESTION)] * 6)) == 6
    assert fake.calls.count(f"is_ready {ENSEMBLE_NAME}") == 1
    assert fake.calls.count(f"model_config {ENSEMBLE_NAME}") == 1


def test_a_server_whose_connection_failed_is_asked_again_what_it_speaks(open_calls: Open) -> None:
    fake = FakeTransport(failures=deque([None, BUSY, UNREACHABLE]))
    calls = open_calls(fake)
    calls.call("segment", IMAGE, QUESTION)
    assert fake.calls.count(f"model_config {ENSEMBLE_NAME}") == 1
    # A full queue says nothing of who is there.
    assert calls.call("segment", IMAGE, QUESTION).timings.attempts == 3
    assert fake.calls.count(f"model_config {ENSEMBLE_NAME}") == 2


def test_a_closed_client_says_so_whatever_it_is_asked(open_calls: Open) -> None:
    fake = FakeTransport()
    calls = open_calls(fake)
    calls.call("close")
    calls.call("close")
    for verb, arguments in (
        ("segment", (IMAGE, QUESTION)),
        ("connect", ()),
        ("capabilities", ()),
        ("health", ()),
        ("statistics", ()),
    ):
        with pytest.raises(errors.ServerUnreachableError, match="make another"):
            calls.call(verb, *arguments)
    with pytest.raises(errors.ServerUnreachableError, match="make another"):
        calls.client.segment_many([])
    assert set(fake.calls) == {"close"}


@pytest.mark.parametrize("urls", [[], ["a:1", "a:1"]])
def test_addresses_are_some_and_all_different(urls: list[str], open_calls: Open) -> None:
    client = type(open_calls(FakeTransport()).client)
    with pytest.raises(errors.InvalidInputError, match="wanted one server address or several"):
        client(urls, transport=FakeTransport())


def test_one_transport_serves_one_address_and_a_function_any_number(open_calls: Open) -> None:
    client = type(open_calls(FakeTransport()).client)
    with pytest.raises(errors.InvalidInputError, match="a transport for each of 2"):
        client(["a:1", "b:1"], transport=FakeTransport())
    client("a:1", transport=FakeTransport())
    client("a:1", transport=FakeTransport)


# streams


def piece(text: str) -> InferenceResponse:
    return InferenceResponse({"TEXT": np.array([[text.encode()]], dtype=object)}, "7")


PIECES = (piece("The "), piece("liver."))


def read(calls: Calls, deadline_s: float = 5) -> Any:
    """Streams from a made-up model."""

    def steps(session: Any) -> Any:
        def build(left_s: float) -> InferenceRequest:
            return InferenceRequest("teller", {}, ("TEXT",), {}, "7", left_s)

        return stream_responses(session, session.deadline(deadline_s), build)

    return calls.stream(steps)


def texts(responses: Iterator[InferenceResponse]) -> list[str]:
    return [response.outputs["TEXT"][0, 0].decode() for response in responses]


def test_a_stream_gives_each_piece_and_is_closed_at_its_end(open_calls: Open) -> None:
    fake = FakeTransport(pieces=PIECES)
    calls = open_calls(fake)
    assert texts(calls.each(read(calls))) == ["The ", "liver."]
    assert fake.calls[-1] == "close stream"
    assert fake.requests[0].model_name == "teller"


def test_a_stream_that_fails_before_its_first_piece_is_opened_on_another_server(
    open_calls: Open,
) -> None:
    down, up = FakeTransport(failure=UNREACHABLE), FakeTransport(pieces=PIECES)
    calls = open_calls(down, up)
    assert texts(calls.each(read(calls))) == ["The ", "liver."]
    assert (down.calls.count("stream"), up.calls.count("stream")) == (1, 1)


def test_a_stream_that_fails_behind_its_first_piece_is_not_begun_anew(open_calls: Open) -> None:
    fake, other = FakeTransport(pieces=(PIECES[0], UNREACHABLE)), FakeTransport(pieces=PIECES)
    calls = open_calls(fake, other)
    pieces = calls.each(read(calls))
    next(pieces)
    with pytest.raises(errors.ServerUnreachableError):
        next(pieces)
    assert "stream" not in other.calls
    assert calls.client._session.balancer.servers[0].outstanding == 0


def test_closing_a_stream_cancels_it_and_nothing_more_comes(open_calls: Open) -> None:
    fake = FakeTransport(pieces=PIECES)
    calls = open_calls(fake)
    stream = read(calls)
    pieces = calls.each(stream)
    next(pieces)
    server = calls.client._session.balancer.servers[0]
    assert server.outstanding == 1
    calls.close(stream)
    calls.close(stream)
    assert "close stream" in fake.calls
    assert list(pieces) == []
    assert server.outstanding == 0
