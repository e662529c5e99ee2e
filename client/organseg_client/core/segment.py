"""The verbs `connect` and `segment`: one question about one image."""

from __future__ import annotations

from functools import partial

from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.effects import Steps, infer, work
from organseg_client.core.session import Session
from organseg_client.images import encode_image
from organseg_client.outcome import SegmentRequest
from organseg_client.request import build_request, encode_question, new_request_id
from organseg_client.response import read_response
from organseg_client.result import SegmentationResult, Timings

__all__ = ["connect", "segment"]


def connect(session: Session, deadline_s: float | None) -> Steps[None]:
    """Ends once a server was found ready."""

    def ask(attempt: Attempt) -> Steps[None]:
        return
        yield  # a generator that needs nothing done

    yield from with_retries(session, session.deadline(deadline_s), ask)


def segment(
    session: Session, asked: SegmentRequest, deadline_s: float | None
) -> Steps[SegmentationResult]:
    """The answer to one question about one image."""
    deadline = session.deadline(deadline_s)
    session.require_open()
    identity = new_request_id(asked.request_id)
    question = encode_question(asked.question)
    image = yield from work(partial(encode_image, asked.image, asked.window, asked.slice_index))
    encode_s = deadline.elapsed_s

    def ask(attempt: Attempt) -> Steps[SegmentationResult]:
        sent_at_s = deadline.elapsed_s
        request = build_request(image, question, deadline.remaining_s(), request_id=identity)
        response = yield from infer(attempt.server.index, request)
        now_s = deadline.elapsed_s
        return read_response(
            response,
            image,
            request_id=identity,
            server=attempt.server.url,
            timings=Timings(
                encode_s=encode_s,
                connect_s=attempt.connect_s,
                round_trip_s=now_s - sent_at_s,
                total_s=now_s,
                attempts=attempt.number,
            ),
        )

    return (yield from with_retries(session, deadline, ask))
