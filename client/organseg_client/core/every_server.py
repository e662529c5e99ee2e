"""The verbs that ask every server: `health` and `statistics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from organseg.contract import SAMPLE_QUESTION
from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    OrganSegError,
    ServerBusyError,
    ServerUnreachableError,
)
from organseg.imaging.encoding import encode_sample
from organseg_client.core.attempts import ask_whether_ready
from organseg_client.core.balancing import Server
from organseg_client.core.effects import Steps, ask_statistics, infer, join, start
from organseg_client.core.session import Session
from organseg_client.deadline import Deadline
from organseg_client.health import Health, HealthState, ServerHealth
from organseg_client.images import SentImage
from organseg_client.request import build_request, new_request_id
from organseg_client.response import read_response
from organseg_client.result import Timings
from organseg_client.statistics import ServerStatistics, Statistics

__all__ = ["health", "statistics"]

T = TypeVar("T")

_STATES: tuple[tuple[type[OrganSegError], HealthState], ...] = (
    (ServerBusyError, HealthState.NOT_READY),
    (ServerUnreachableError, HealthState.UNREACHABLE),
    (DeadlineExceededError, HealthState.SILENT),
    (AuthenticationError, HealthState.REFUSED),
    (OrganSegError, HealthState.FAULTY),
)
"""What an error says of a server; first match wins."""


def health(session: Session, deadline_s: float | None) -> Steps[Health]:
    """What each server does with a small question, all asked at once, none of them twice."""
    deadline = session.deadline(deadline_s)
    session.require_open()
    found = yield from _of_each(session, lambda server: _probe(session, server, deadline))
    return Health(tuple(found))


def statistics(session: Session, deadline_s: float | None) -> Steps[Statistics]:
    """What each server counted; raises the first one's error where none of them says."""
    deadline = session.deadline(deadline_s)
    session.require_open()
    found = yield from _of_each(session, lambda server: _count(server, deadline))
    errors = [server.error for server in found if server.error is not None]
    if len(errors) == len(found):
        raise errors[0]
    return Statistics(tuple(found))


def _of_each(session: Session, ask: Callable[[Server], Steps[T]]) -> Steps[list[T]]:
    """What each server answers, all asked at once."""
    tasks = []
    for server in session.balancer.servers:
        tasks.append((yield from start(ask(server))))
    found = []
    for task in tasks:
        found.append((yield from join(task)))
    return found


def _count(server: Server, deadline: Deadline) -> Steps[ServerStatistics]:
    try:
        models = yield from ask_statistics(server.index, deadline.remaining_s())
    except OrganSegError as error:
        return ServerStatistics(server.url, (), error)
    return ServerStatistics(server.url, models)


def _probe(session: Session, server: Server, deadline: Deadline) -> Steps[ServerHealth]:
    began_s = deadline.elapsed_s
    session.balancer.ask(server)
    try:
        state, words = yield from _state(session, server, deadline)
    finally:
        session.balancer.give_back(server)
    return ServerHealth(server.url, state, deadline.elapsed_s - began_s, words)


def _state(session: Session, server: Server, deadline: Deadline) -> Steps[tuple[HealthState, str]]:
    began_s = deadline.elapsed_s
    try:
        try:
            yield from ask_whether_ready(server, deadline.remaining_s)
        except ContractError as error:
            return HealthState.OTHER_CONTRACT, str(error)
        yield from _ask_sample(server, deadline)
    except OrganSegError as error:
        # Where calls go next follows from what was found.
        session.note(server, error, deadline.elapsed_s - began_s)
        state = next(state for kind, state in _STATES if isinstance(error, kind))
        return state, str(error)
    session.balancer.succeeded(server)
    return HealthState.HEALTHY, "It answered a small question."


def _ask_sample(server: Server, deadline: Deadline) -> Steps[None]:
    """One small picture through the whole ensemble: what still reports ready may be dead."""
    image = SentImage(encode_sample(), None)
    identity = new_request_id(None)
    request = build_request(
        image, SAMPLE_QUESTION.encode(), deadline.remaining_s(), request_id=identity
    )
    response = yield from infer(server.index, request)
    nothing = Timings(encode_s=0.0, connect_s=0.0, round_trip_s=0.0, total_s=0.0, attempts=1)
    read_response(response, image, request_id=identity, server=server.url, timings=nothing)
