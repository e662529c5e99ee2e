"""Attempts by hand, effect by effect: pauses, jitter, and how a failed server rests and returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from organseg import errors
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION
from organseg_client import ModelConfig, RetryPolicy
from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.balancing import FIRST_REST_S, LONGEST_REST_S, Balancer
from organseg_client.core.effects import (
    Call,
    Effect,
    Exclusively,
    Give,
    Steps,
    Verb,
    Wait,
    ask_metadata,
    give,
    handing_over,
    wait,
)
from organseg_client.core.retry import is_worth_a_retry, pause_s
from organseg_client.core.session import Session

BUSY = errors.ServerBusyError("full")
UNREACHABLE = errors.ServerUnreachableError("down")

Answer = Callable[[Call], Any]


def play(steps: Steps[Any], answer: Answer, seen: list[Effect]) -> Any:
    """Runs steps to their end; no effect is carried out, all are kept."""
    result: Any = None
    error: BaseException | None = None
    while True:
        try:
            effect = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value
        seen.append(effect)
        result, error = None, None
        try:
            if isinstance(effect, Exclusively):
                result = play(effect.steps, answer, seen)
            elif isinstance(effect, Call):
                result = answer(effect)
        except Exception as raised:
            error = raised


def well(call: Call) -> Any:
    if call.verb is Verb.MODEL_CONFIG:
        return ModelConfig("organ_seg", {CONTRACT_PARAMETER: CONTRACT_VERSION})
    return True


def failing(error: Exception, *, times: int) -> Answer:
    left = [error] * times

    def answer(call: Call) -> Any:
        if call.verb is Verb.SERVER_METADATA and left:
            raise left.pop()
        return well(call)

    return answer


def ask(attempt: Attempt) -> Steps[int]:
    yield from ask_metadata(attempt.server.index, 1.0)
    return attempt.number


def waits(seen: list[Effect]) -> list[float]:
    return [effect.seconds for effect in seen if isinstance(effect, Wait)]


def asked(seen: list[Effect]) -> list[int]:
    return [
        effect.server
        for effect in seen
        if isinstance(effect, Call) and effect.verb is Verb.SERVER_METADATA
    ]


def session_of(servers: int, policy: RetryPolicy, fraction: float = 1.0) -> Session:
    urls = [f"server-{index}:8001" for index in range(servers)]
    return Session(urls, 30, policy, fraction=lambda: fraction)


def test_pauses_double_up_to_their_bound_and_are_drawn_from_nothing_to_it() -> None:
    policy = RetryPolicy(attempts=9, first_wait_s=0.5, longest_wait_s=3)
    assert [pause_s(policy, failed, 1.0) for failed in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 3, 3]
    assert pause_s(policy, 3, 0.0) == 0
    assert pause_s(policy, 3, 0.25) == 0.5
    assert pause_s(policy, 10**9, 1.0) == 3


def test_every_error_class_of_a_client_is_decided_on() -> None:
    worth = {
        name
        for name in errors.__all__
        if is_worth_a_retry(getattr(errors, name)("wanted this, got that; do so"))
    }
    assert worth == {"ServerBusyError", "ServerUnreachableError", "StageDeadError"}


def test_one_server_is_asked_again_after_each_pause() -> None:
    seen: list[Effect] = []
    session = session_of(1, RetryPolicy(first_wait_s=0.125))
    deadline = session.deadline(None)
    assert play(with_retries(session, deadline, ask), failing(BUSY, times=3), seen) == 4
    assert waits(seen) == [0.125, 0.25, 0.5]


def test_several_servers_are_each_asked_before_the_first_pause() -> None:
    seen: list[Effect] = []
    session = session_of(3, RetryPolicy(attempts=5, first_wait_s=0.125))
    deadline = session.deadline(None)
    assert play(with_retries(session, deadline, ask), failing(UNREACHABLE, times=4), seen) == 5
    assert set(asked(seen)[:3]) == {0, 1, 2}
    assert waits(seen) == [0.125, 0.25]
    assert [server.outstanding for server in session.balancer.servers] == [0, 0, 0]


def test_a_pause_that_would_outlast_the_deadline_is_not_begun() -> None:
    seen: list[Effect] = []
    session = session_of(1, RetryPolicy(first_wait_s=10, longest_wait_s=100))
    with pytest.raises(errors.ServerBusyError) as caught:
        play(with_retries(session, session.deadline(15), ask), failing(BUSY, times=9), seen)
    assert caught.value is BUSY
    assert waits(seen) == [10]


def test_one_of_several_servers_may_not_use_up_the_time_by_saying_nothing() -> None:
    def answer(call: Call) -> Any:
        if call.verb is Verb.IS_READY and call.server == 0:
            raise errors.DeadlineExceededError("silent")
        return well(call)

    seen: list[Effect] = []
    session = session_of(2, RetryPolicy())
    assert play(with_retries(session, session.deadline(8), ask), answer, seen) == 2
    assert asked(seen) == [1]
    limits = [
        effect.arguments[1]
        for effect in seen
        if isinstance(effect, Call) and effect.verb is Verb.IS_READY
    ]
    assert all(limit <= 4 for limit in limits)


def test_a_client_that_is_closed_meanwhile_tries_no_more() -> None:
    session = session_of(1, RetryPolicy())

    def answer(call: Call) -> Any:
        if call.verb is Verb.SERVER_METADATA:
            session.is_closed = True
            raise UNREACHABLE
        return well(call)

    seen: list[Effect] = []
    with pytest.raises(errors.ServerUnreachableError) as caught:
        play(with_retries(session, session.deadline(None), ask), answer, seen)
    assert caught.value is UNREACHABLE
    assert waits(seen) == []


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_failed_server_rests_longer_each_time_and_is_asked_again_behind_each_rest() -> None:
    clock = Clock()
    balancer = Balancer(["a:1", "b:1"], clock)
    first = balancer.servers[0]
    rest_s = FIRST_REST_S
    for _ in range(12):
        assert balancer.take() is first
        balancer.give_back(first)
        balancer.failed(first)
        for _ in range(3):
            other = balancer.take()
            assert other is not first
            balancer.give_back(other)
        clock.now_s += rest_s * 0.99
        assert balancer.rests(first)
        clock.now_s += rest_s * 0.02
        assert not balancer.rests(first)
        rest_s = min(2 * rest_s, LONGEST_REST_S)
        # The other one has been asked since.
        assert first.last_asked < balancer.servers[1].last_asked


def test_calls_that_fail_together_count_as_one_failure() -> None:
    clock = Clock()
    balancer = Balancer(["a:1"], clock)
    server = balancer.servers[0]
    for _ in range(8):
        balancer.failed(server)
    clock.now_s += FIRST_REST_S * 1.01
    assert not balancer.rests(server)


def test_one_call_finds_out_whether_a_rested_server_is_well() -> None:
    clock = Clock()
    balancer = Balancer(["a:1", "b:1"], clock)
    balancer.failed(balancer.servers[0])
    clock.now_s += FIRST_REST_S * 1.01
    taken = [balancer.take().index for _ in range(4)]
    assert taken.count(0) == 1
    balancer.succeeded(balancer.servers[0])
    assert balancer.take().index == 0


def test_a_preferred_server_is_asked_however_busy_unless_tried_resting_or_on_trial() -> None:
    clock = Clock()
    balancer = Balancer(["a:1", "b:1"], clock)
    other, preferred = balancer.servers
    assert [balancer.take((), preferred) for _ in range(3)] == [preferred] * 3
    assert balancer.take([preferred], preferred) is other
    balancer.failed(preferred)
    assert balancer.take((), preferred) is other
    # Its rest is over, but calls that are under way have yet to find out how it is.
    clock.now_s += FIRST_REST_S
    assert balancer.take((), preferred) is other
    balancer.succeeded(preferred)
    assert balancer.take((), preferred) is preferred


def test_where_all_servers_rest_the_one_whose_rest_ends_first_is_asked() -> None:
    clock = Clock()
    balancer = Balancer(["a:1", "b:1"], clock)
    balancer.failed(balancer.servers[1])
    clock.now_s += 0.1
    balancer.failed(balancer.servers[0])
    assert balancer.take().index == 1


def test_values_are_handed_to_a_function_and_the_result_is_kept() -> None:
    def steps() -> Steps[str]:
        yield from give(1)
        yield from wait(5)
        yield from give(2)
        return "done"

    received: list[int] = []
    seen: list[Effect] = []
    assert play(handing_over(steps(), received.append), well, seen) == "done"
    assert received == [1, 2]
    assert not any(isinstance(effect, Give) for effect in seen)


def test_an_error_of_the_function_reaches_the_steps_that_gave() -> None:
    ended: list[bool] = []

    def steps() -> Steps[None]:
        try:
            yield from give(1)
        finally:
            ended.append(True)

    def refuse(value: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        play(handing_over(steps(), refuse), well, [])
    assert ended == [True]


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"first_wait_s": -1},
        {"longest_wait_s": float("nan")},
        {"first_wait_s": float("inf")},
    ],
)
def test_a_policy_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInputError, match="wanted"):
        RetryPolicy(**options)
