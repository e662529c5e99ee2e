"""One call over several servers and attempts, all within one deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, ENSEMBLE_NAME
from organseg.errors import (
    ContractError,
    DeadlineExceededError,
    OrganSegError,
    ServerBusyError,
    ServerUnreachableError,
)
from organseg_client.core.balancing import Server
from organseg_client.core.effects import Steps, ask_config, ask_ready, exclusively, wait
from organseg_client.core.retry import is_worth_a_retry, pause_s
from organseg_client.core.session import Session
from organseg_client.deadline import Deadline
from organseg_client.transport import ModelConfig

__all__ = ["Attempt", "ask_whether_ready", "with_retries"]

T = TypeVar("T")

_CHECK_S = 5.0
"""How long one of several servers may take to say that it is ready, seconds: one that swallows
connections costs a call that much and no more."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempt of a call at one server, which was found ready."""

    server: Server
    """The server to ask."""
    number: int
    """1 for the first."""
    connect_s: float
    """Time that the call has spent so far on finding servers ready, seconds."""


def with_retries(
    session: Session,
    deadline: Deadline,
    ask: Callable[[Attempt], Steps[T]],
    *,
    take: Callable[[Collection[Server]], Server] | None = None,
) -> Steps[T]:
    """What `ask` answers, asked again where its error is worth it and time is left.

    The next attempt goes to a server that was not tried yet, at once if that one is believed to be
    well, after a pause otherwise. `take` is given the servers that were tried and takes one from
    the balancer; None for its own choice. Raises the last attempt's error.
    """
    take = take or session.balancer.take
    tried: list[Server] = []
    number = pauses = 0
    connect_s = 0.0
    while True:
        session.require_open()
        deadline.remaining_s()
        number += 1
        server = take(tried)
        began_s = deadline.elapsed_s
        try:
            try:
                yield from _require_checked(session, server, deadline)
            finally:
                connect_s += deadline.elapsed_s - began_s
            answer = yield from ask(Attempt(server, number, connect_s))
        except OrganSegError as error:
            session.note(server, error, deadline.elapsed_s - began_s)
            if number >= session.retry.attempts or not is_worth_a_retry(error):
                raise
            if session.is_closed:
                raise
            tried.append(server)
            pause = 0.0
            if not session.balancer.has_fresh(tried):
                pauses += 1
                pause = pause_s(session.retry, pauses, session.fraction())
                if deadline.elapsed_s + pause >= deadline.seconds:
                    # Its own words help more than that there is no time to hear them again.
                    raise
        else:
            session.balancer.succeeded(server)
            return answer
        finally:
            session.balancer.give_back(server)
        if pause:
            yield from wait(pause)


def ask_whether_ready(server: Server, limit_s: Callable[[], float]) -> Steps[ModelConfig]:
    """The ensemble's configuration, from a server that is ready and speaks this contract.

    `limit_s` gives the seconds that each question may take.

    Raises `ServerBusyError` where its model is not ready, `ContractError` for another contract.
    """
    if not (yield from ask_ready(server.index, ENSEMBLE_NAME, limit_s())):
        raise ServerBusyError(
            f"wanted the model {ENSEMBLE_NAME!r} ready, the server has it not or not yet; wait "
            "until it has loaded, and if it stays so, start the server with a release of Organ-Seg"
        )
    config = yield from ask_config(server.index, ENSEMBLE_NAME, limit_s())
    served = config.parameters.get(CONTRACT_PARAMETER, "none")
    if served != CONTRACT_VERSION:
        raise ContractError(
            f"wanted a server of contract version {CONTRACT_VERSION}, which this client speaks, "
            f"got one of version {served}; install the client of the server's release, or serve a "
            "release that was exported with this version of organseg"
        )
    return config


def _require_checked(session: Session, server: Server, deadline: Deadline) -> Steps[None]:
    """Finds a server ready once; calls that come meanwhile share what was found."""
    if server.is_checked:
        return
    failures = server.failures
    try:
        yield from exclusively(
            f"check of server {server.index}",
            _check(session, server, deadline, failures),
            deadline.remaining_s(),
        )
    except TimeoutError:
        raise DeadlineExceededError(
            f"wanted an answer within {deadline.seconds:g} s, the time was up while another call "
            "was connecting; give a longer deadline, or see whether the server answers"
        ) from None


def _check(session: Session, server: Server, deadline: Deadline, failures: int) -> Steps[None]:
    if server.is_checked:
        return
    if server.failures != failures and session.balancer.rests(server):
        raise ServerUnreachableError(
            "wanted a server that is ready, it failed another call a moment ago; check that it "
            "runs, or try again in a moment"
        )
    is_one_of_several = len(session.balancer.servers) > 1
    began_s = deadline.elapsed_s

    def limit_s() -> float:
        left = deadline.remaining_s()
        return min(_CHECK_S, left / 2) if is_one_of_several else left

    try:
        yield from ask_whether_ready(server, limit_s)
    except DeadlineExceededError as error:
        session.note(server, error, deadline.elapsed_s - began_s)
        if is_one_of_several and deadline.elapsed_s < deadline.seconds:
            raise ServerUnreachableError(
                "wanted the server to say whether it is ready, it stayed silent; check the "
                "address and that the server runs"
            ) from error
        raise
    except OrganSegError as error:
        # Before the next call may check it, which waits for this one.
        session.note(server, error, deadline.elapsed_s - began_s)
        raise
    server.is_checked = True
