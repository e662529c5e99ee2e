"""Streamed answers: each response as it comes, retried only until the first one has come."""

from __future__ import annotations

from collections.abc import Callable

from organseg.errors import OrganSegError
from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.balancing import Server
from organseg_client.core.effects import Steps, Stream, give, next_response, open_stream
from organseg_client.core.session import Session
from organseg_client.deadline import Deadline
from organseg_client.transport import InferenceRequest, InferenceResponse

__all__ = ["stream_responses"]


def stream_responses(
    session: Session, deadline: Deadline, build: Callable[[float], InferenceRequest]
) -> Steps[None]:
    """Steps that give each `InferenceResponse` of a decoupled model.

    `build` makes the request for the seconds that are left. An error before the first response is
    retried by its class, on another server first; one behind it ends the stream, since what the
    caller has read cannot be taken back.
    """

    def begin(attempt: Attempt) -> Steps[tuple[Server, Stream, InferenceResponse | None]]:
        stream = yield from open_stream(attempt.server.index, build(deadline.remaining_s()))
        return attempt.server, stream, (yield from next_response(stream))

    server, stream, response = yield from with_retries(session, deadline, begin)
    # `with_retries` has counted the attempt as over; the stream keeps the server busy all the same.
    session.balancer.ask(server)
    began_s = deadline.elapsed_s
    try:
        while response is not None:
            yield from give(response)
            response = yield from next_response(stream)
    except OrganSegError as error:
        session.note(server, error, deadline.elapsed_s - began_s)
        raise
    finally:
        session.balancer.give_back(server)
