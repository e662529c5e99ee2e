"""The verbs `open` and `ask`: an image that a server keeps, and questions that travel alone.

An open image sticks to the server that keeps it. What brings a call to another server brings the
image there, too; what only lost the image (its time is up, it was evicted, the server was started
anew) is sent it again. A server that keeps no images is sent it with each question.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from organseg.contract import ASK_NAME, ENCODE_NAME
from organseg.errors import (
    DeadlineExceededError,
    InvalidInputError,
    NotServedError,
    OrganSegError,
    ServerBusyError,
    ServerFaultError,
    SessionLostError,
    StageDeadError,
)
from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.balancing import Balancer, Server
from organseg_client.core.effects import Steps, ask_ready, exclusively, infer, work
from organseg_client.core.session import Session
from organseg_client.deadline import Deadline
from organseg_client.images import ImageInput, SentImage, encode_image
from organseg_client.request import (
    build_ask_request,
    build_encode_request,
    build_request,
    encode_question,
    new_request_id,
)
from organseg_client.response import read_kept, read_response
from organseg_client.result import SegmentationResult, Timings
from organseg_client.transport import InferenceRequest

__all__ = ["Kept", "Opened", "ask", "open_image"]


@dataclass(frozen=True, eq=False)
class Kept:
    """That a server keeps an image."""

    server: Server
    """The server."""
    handle: bytes = field(repr=False)
    """What it knows the image by; whoever has it can ask about the image."""
    lifetime_s: float
    """How long it means to keep it, seconds."""


class Opened:
    """What is known of one open image; its questions may be asked by many threads."""

    def __init__(self, image: SentImage) -> None:
        self.image: SentImage | None = image
        """The image as it is sent; None once it was closed."""
        self.kept: Kept | None = None
        """Where it is kept; None where no server that was asked keeps any."""
        self.times_encoded = 0
        """How often a server has encoded it to keep it."""
        self.without: set[Server] = set()
        """Servers that keep no images."""
        self.route = secrets.token_urlsafe(12)
        """A word that is its own, by which proxies send its calls to one server."""
        self._lock = threading.Lock()
        self._server: Server | None = None

    def take(self, balancer: Balancer, tried: Collection[Server]) -> Server:
        """The server to ask next: the one it sticks to, else the balancer's choice.

        Questions that leave a server together go to the same one.
        """
        with self._lock:
            chosen = balancer.take(tried, self._server)
            if chosen not in self.without:
                self._server = chosen
            return chosen

    def kept_at(self, server: Server) -> Kept | None:
        """What the server knows it by; None where it does not."""
        kept = self.kept
        return kept if kept is not None and kept.server is server else None

    def keep(self, kept: Kept) -> None:
        """Notes that a server has encoded the image."""
        self.kept = kept
        self.times_encoded += 1

    def is_not_kept_at(self, server: Server) -> None:
        """Notes that a server keeps no images."""
        with self._lock:
            self.without.add(server)
            if self.kept is not None and self.kept.server is server:
                self.kept = None
            if self._server is server:
                self._server = self.kept.server if self.kept else None

    def required_image(self) -> SentImage:
        """The image; raises `InvalidInputError` once it was closed."""
        if self.image is None:
            raise InvalidInputError(
                "wanted an image that is open, this one was closed; open it again"
            )
        return self.image


def open_image(
    session: Session,
    image: ImageInput,
    window: Sequence[float] | NDArray[Any] | None,
    slice_index: int | None,
    deadline_s: float | None,
    request_id: str | None,
) -> Steps[Opened]:
    """The image, kept by a server where that can be had."""
    deadline = session.deadline(deadline_s)
    session.require_open()
    identity = new_request_id(request_id)
    sent = yield from work(partial(encode_image, image, window, slice_index))
    opened = Opened(sent)
    call = _Call(session, opened, sent, deadline, identity)

    def keep(attempt: Attempt) -> Steps[None]:
        yield from _require_kept(call, attempt.server, attempt.server.failures)

    yield from with_retries(session, deadline, keep, take=call.take)
    return opened


def ask(
    session: Session,
    opened: Opened,
    question: str | bytes,
    deadline_s: float | None,
    request_id: str | None,
) -> Steps[SegmentationResult]:
    """The answer to one question about an open image."""
    deadline = session.deadline(deadline_s)
    session.require_open()
    image = opened.required_image()
    call = _Call(session, opened, image, deadline, new_request_id(request_id))
    asked = encode_question(question)
    encode_s = deadline.elapsed_s
    losses = 0

    def send(attempt: Attempt) -> Steps[SegmentationResult]:
        nonlocal losses
        server = attempt.server
        failures = server.failures
        kept = yield from _require_kept(call, server, failures)
        while True:
            sent_at_s = deadline.elapsed_s
            try:
                response = yield from infer(server.index, _request(call, kept, asked))
                break
            except (SessionLostError, ServerFaultError) as error:
                if kept is None or losses or not (yield from _is_lost(call, server, error)):
                    raise
            losses += 1
            kept = yield from _require_kept(call, server, failures, lost=kept)
        now_s = deadline.elapsed_s
        return read_response(
            response,
            image,
            request_id=call.identity,
            server=server.url,
            timings=Timings(
                encode_s=encode_s,
                connect_s=attempt.connect_s,
                round_trip_s=now_s - sent_at_s,
                total_s=now_s,
                attempts=attempt.number + losses,
            ),
        )

    return (yield from with_retries(session, deadline, send, take=call.take))


@dataclass(frozen=True, eq=False)
class _Call:
    """One call about an open image."""

    session: Session
    """The client's."""
    opened: Opened
    """The open image."""
    image: SentImage
    """The same as it is sent, also where it is closed meanwhile."""
    deadline: Deadline
    """The call's."""
    identity: str
    """The id of its requests in the server's log."""

    def take(self, tried: Collection[Server]) -> Server:
        """The server to ask next."""
        return self.opened.take(self.session.balancer, tried)


def _request(call: _Call, kept: Kept | None, question: bytes) -> InferenceRequest:
    left_s = call.deadline.remaining_s()
    if kept is None:
        return build_request(call.image, question, left_s, call.identity)
    return build_ask_request(
        kept.handle, call.image, question, call.opened.route, left_s, call.identity
    )


def _is_lost(call: _Call, server: Server, error: OrganSegError) -> Steps[bool]:
    """Whether the server does not know the image any more, but may take it again."""
    if isinstance(error, SessionLostError):
        return True
    if isinstance(error, StageDeadError):
        return False
    # A release that keeps no images may have taken the place of one that did.
    is_served = yield from ask_ready(server.index, ASK_NAME, call.deadline.remaining_s())
    return not is_served


def _require_kept(
    call: _Call, server: Server, failures: int, lost: Kept | None = None
) -> Steps[Kept | None]:
    """Has the server keep the image, unless it does; None where it keeps no images.

    `failures` are those that it had when this attempt began, `lost` is what it knows no more.
    Questions that come meanwhile share what was found.
    """
    opened = call.opened
    kept = opened.kept_at(server)
    if kept not in (None, lost) or server in opened.without:
        return kept
    try:
        return (
            yield from exclusively(
                f"encoding of image {opened.route}",
                _encode(call, server, failures, lost),
                call.deadline.remaining_s(),
            )
        )
    except TimeoutError:
        raise DeadlineExceededError(
            f"wanted an answer within {call.deadline.seconds:g} s, the time was up while another "
            "question had the image encoded; give a longer deadline"
        ) from None


def _encode(call: _Call, server: Server, failures: int, lost: Kept | None) -> Steps[Kept | None]:
    session, opened, deadline = call.session, call.opened, call.deadline
    kept = opened.kept_at(server)
    if kept not in (None, lost) or server in opened.without:
        return kept
    if server.failures != failures and session.balancer.rests(server):
        raise ServerBusyError(
            "wanted the image encoded, the server failed at it for another question a moment ago; "
            "try again in a moment"
        )
    began_s = deadline.elapsed_s
    try:
        if not (yield from ask_ready(server.index, ENCODE_NAME, deadline.remaining_s())):
            opened.is_not_kept_at(server)
            return None
        request = build_encode_request(
            call.image, opened.route, deadline.remaining_s(), call.identity
        )
        response = yield from infer(server.index, request)
        kept = Kept(server, *read_kept(response))
    except NotServedError:
        # It was started so that it keeps none, or has no room for this one.
        opened.is_not_kept_at(server)
        return None
    except OrganSegError as error:
        # Before the next question may have it encoded, which waits for this one.
        session.note(server, error, deadline.elapsed_s - began_s)
        raise
    opened.keep(kept)
    return kept
