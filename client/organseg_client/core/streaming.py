"""Streamed answers: each response as it comes, retried only until the first one has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from organseg.errors import OrganSegError
from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.balancing import Server
from organseg_client.core.effects import Steps, Stream, give, next_response, open_stream
from organseg_client.core.session import Session
from organseg_client.deadline import Deadline
from organseg_client.transport import InferenceRequest, InferenceResponse

__all__ = ["stream_responses"]


def stream_responses(
    session: Session,
    deadline: Deadline,
    build: Callable[[float], InferenceRequest],
    *,
    read: Callable[[InferenceResponse], Any] = lambda response: response,
    before: Callable[[Attempt, float], Steps[None]] | None = None,
) -> Steps[None]:
    """Steps that give each response of a decoupled model, as `read` reads it.

    `build` makes the request for the seconds that are left; `before` are steps that each attempt
    takes first, with the seconds that they may take. An error before the first response is
    retried by its class, on another server first; one behind it ends the stream, since what the
    caller has read cannot be taken back.
    """

    def begin(attempt: Attempt) -> Steps[tuple[Server, Stream, InferenceResponse | None]]:
        if before is not None:
            yield from before(attempt, deadline.remaining_s())
        stream = yield from open_stream(attempt.server.index, build(deadline.remaining_s()))
        return attempt.server, stream, (yield from next_response(stream))

    server, stream, response = yield from with_retries(session, deadline, begin)
    # `with_retries` has counted the attempt as over; the stream keeps the server busy all the same.
    session.balancer.ask(server)
    began_s = deadline.elapsed_s
    try:
        while response is not None:
            yield from give(read(response))
            response = yield from next_response(stream)
    except OrganSegError as error:
        session.note(server, error, deadline.elapsed_s - began_s)
        raise
    finally:
        session.balancer.give_back(server)
