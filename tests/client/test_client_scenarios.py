"""What both clients do, on fakes: each scenario is run through the sync and the async one."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Calls, FakeTransport, Gate

from organseg import errors
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, ENSEMBLE_NAME, Fact, Verdict
from organseg.organs import ORGANS
from organseg_client import (
    ConnectionOptions,
    HealthState,
    InferenceRequest,
    InferenceResponse,
    ModelStatistics,
    RetryPolicy,
    SegmentRequest,
)
from organseg_client.core.streaming import stream_responses

IMAGE = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
QUESTION = "Which organ stores bile?"
AT_ONCE = RetryPolicy(first_wait_s=0)

BUSY = errors.ServerBusyError("wanted a place in the queue, got none; try again")
UNREACHABLE = errors.ServerUnreachableError("wanted a connection, got none; check the address")
DEAD = errors.StageDeadError("wanted a model whose process lives, got none; restart")
FAULT = errors.ServerFaultError("wanted a result, got 'boom'; read the log")

Open = Callable[..., Calls]


@pytest.fixture(params=[Calls, AsyncCalls], ids=["sync", "async"])
def open_calls(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Makes a client of either kind on a fleet of fakes; retries come at once."""
    made: list[Calls] = []

    def make(*fleet: FakeTransport, retry: RetryPolicy = AT_ONCE, **options: Any) -> Calls:
        named = {f"server-{index}:8001": fake for index, fake in enumerate(fleet)}
        calls = request.param(named, options=ConnectionOptions(retry=retry), **options)
        made.append(calls)
        return calls

    yield make
    for calls in made:
        calls.end()


def inferences(*fleet: FakeTransport) -> list[int]:
    return [fake.calls.count("infer") for fake in fleet]


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


# segment_many


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


# capabilities, health, statistics


def test_capabilities_say_what_can_be_asked_and_what_answers(open_calls: Open) -> None:
    fake = FakeTransport(
        explains=True,
        parameters={
            CONTRACT_PARAMETER: CONTRACT_VERSION,
            Fact.PRESET.parameter: "tiny",
            Fact.LICENCE.parameter: "Apache-2.0",
            Fact.INTENDED_USE.parameter: "research",
            Fact.MADE.parameter: "2026-08-01T10:00:00+00:00",
            Fact.TRAINED.parameter: "true",
            Fact.SOURCE.parameter: "phantoms",
        },
    )
    found = open_calls(fake).call("capabilities")
    assert [(organ.id, organ.name) for organ in found.organs] == [
        (organ.id, organ.name) for organ in ORGANS
    ]
    assert (found.preset, found.licence, found.intended_use) == ("tiny", "Apache-2.0", "research")
    assert (found.release.made, found.release.trained, found.release.source) == (
        "2026-08-01T10:00:00+00:00",
        True,
        "phantoms",
    )
    assert (found.contract_version, found.server_version) == (CONTRACT_VERSION, "2.51.0")
    assert found.can_explain
    assert found.to_dict()["organs"][0]["letter"] == "A"


def test_capabilities_of_a_server_that_says_little_make_nothing_up(open_calls: Open) -> None:
    found = open_calls(FakeTransport()).call("capabilities")
    assert found.licence == found.intended_use == "not stated by the server"
    assert (found.release.made, found.release.trained) == (None, None)
    assert not found.can_explain


def test_health_asks_every_server_a_real_question(open_calls: Open) -> None:
    fleet = [
        FakeTransport(),
        FakeTransport(failure=DEAD),
        FakeTransport(ready=False),
        FakeTransport(failure=UNREACHABLE),
        FakeTransport(parameters={CONTRACT_PARAMETER: "another"}),
        FakeTransport(failure=errors.AuthenticationError("no")),
        FakeTransport(failure=errors.DeadlineExceededError("no")),
        FakeTransport(changed_outputs={"MASKS": None}),
    ]
    calls = open_calls(*fleet)
    found = calls.call("health")
    assert [server.state for server in found.servers] == [
        HealthState.HEALTHY,
        HealthState.FAULTY,
        HealthState.NOT_READY,
        HealthState.UNREACHABLE,
        HealthState.OTHER_CONTRACT,
        HealthState.REFUSED,
        HealthState.SILENT,
        HealthState.FAULTY,
    ]
    assert [server.url for server in found.servers][:2] == ["server-0:8001", "server-1:8001"]
    assert not found.is_healthy
    assert str(DEAD) == found.servers[1].words
    assert inferences(*fleet) == [1, 1, 0, 1, 0, 1, 1, 1]


def test_questions_keep_away_from_a_server_that_was_found_ill(open_calls: Open) -> None:
    ill, well = FakeTransport(failure=DEAD), FakeTransport()
    calls = open_calls(ill, well)
    assert not calls.call("health").is_healthy
    assert calls.call("segment", IMAGE, QUESTION).timings.attempts == 1
    ill.failure = None
    assert calls.call("health").is_healthy
    calls.call("segment", IMAGE, QUESTION)
    assert inferences(ill, well) == [3, 3]


COUNTS = ModelStatistics("gate", "1", 10, 1, 5, 10, 0.5, 0.25, 2.0, 0.75)


def test_statistics_are_kept_apart_by_server(open_calls: Open) -> None:
    calls = open_calls(FakeTransport(models=(COUNTS,)), FakeTransport(failure=UNREACHABLE))
    found = calls.call("statistics")
    assert found.servers[0].models == (COUNTS,)
    assert (COUNTS.mean_batch, COUNTS.compute_ms) == (2.0, 3.0)
    assert found.servers[1].error is UNREACHABLE
    assert found.to_dict()["servers"][0]["models"][0]["mean_batch"] == 2.0


def test_statistics_of_no_server_are_an_error(open_calls: Open) -> None:
    with pytest.raises(errors.ServerUnreachableError) as caught:
        open_calls(FakeTransport(failure=UNREACHABLE)).call("statistics")
    assert caught.value is UNREACHABLE


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


# addresses


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
