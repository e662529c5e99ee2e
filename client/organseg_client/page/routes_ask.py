"""Asking about open scans: one slice, a whole volume with its progress, and explanations.

What takes long is answered in lines of JSON, one event a line, as it happens. A browser that
goes away cancels the work.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from organseg.errors import InvalidInputError, OrganSegError, QuestionError
from organseg_client.page.answers import Scope, answer_about_slice, answer_about_volume
from organseg_client.page.page_state import PageState, state_of
from organseg_client.page.scan import ScanKind
from organseg_client.page.words import describe
from organseg_client.result import SegmentationResult

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

__all__ = ["ask_routes"]

_LOG = logging.getLogger(__name__)

_SERVER_DEADLINE_S = 10.0
_MAX_BODY_BYTES = 16 * 1024


def ask_routes() -> list[Route]:
    """The routes of this module."""
    from starlette.routing import Route

    answers = "/api/scans/{scan}/answers"
    return [
        Route("/api/server", _server, methods=["GET"]),
        Route(answers, _ask, methods=["POST"]),
        Route(answers + "/{number:int}/explanation", _explain, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Question:
    """The body of a question."""

    question: str
    scope: Scope
    slice_index: int


async def _server(request: Request) -> Response:
    """Which server answers, with what weights, and whether it does."""
    from starlette.responses import JSONResponse

    page = state_of(request)
    servers = page.options.servers
    facts: dict[str, Any] = {"servers": list(servers), "problem": None, "capabilities": None}
    try:
        facts["capabilities"] = (await page.client.capabilities(_SERVER_DEADLINE_S)).to_dict()
        health = await page.client.health(_SERVER_DEADLINE_S)
        facts["health"] = health.to_dict()
    except OrganSegError as error:
        facts["problem"] = describe(error, servers).to_dict()["error"]
    return JSONResponse(facts)


async def _ask(request: Request) -> Response:
    from starlette.responses import JSONResponse

    page = state_of(request)
    with page.store.using(request.path_params["scan"]) as session:
        asked = await _read_question(request)
        if asked.scope is Scope.VOLUME:
            return _stream(page, _volume_events(page, session.identity, asked))
        result = await page.client.segment(
            question=asked.question,
            deadline_s=page.options.deadline_s,
            **session.scan.question_arguments(asked.slice_index),
        )
        answer = answer_about_slice(
            session.scan, session.next_number(), asked.question, asked.slice_index, result
        )
        page.store.keep(session, answer)
        return JSONResponse(answer.to_dict(), status_code=201)


async def _volume_events(
    page: PageState, identity: str, asked: _Question
) -> AsyncIterator[dict[str, Any]]:
    with page.store.using(identity) as session:
        volume = session.scan.volume
        if session.scan.kind is ScanKind.PICTURE or volume is None:
            raise InvalidInputError(
                "wanted a volume for a question about all slices, came a single image; "
                "ask about the image"
            )
        steps: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        work = asyncio.ensure_future(
            page.client.segment_volume(
                volume,
                asked.question,
                window=session.scan.window,
                progress=lambda so_far: steps.put_nowait(
                    {"kind": "progress", "done": so_far.done, "total": so_far.total}
                ),
            )
        )
        try:
            while not work.done():
                step = asyncio.ensure_future(steps.get())
                try:
                    await asyncio.wait({work, step}, return_when=asyncio.FIRST_COMPLETED)
                    if step.done():
                        yield step.result()
                finally:
                    step.cancel()
            # Several slices may have ended at once, the last ones together with the work.
            while not steps.empty():
                yield steps.get_nowait()
            result = await work
        finally:
            work.cancel()
        answer = answer_about_volume(
            session.next_number(), asked.question, asked.slice_index, result
        )
        page.store.keep(session, answer)
        yield {"kind": "answer", "answer": answer.to_dict()}


async def _explain(request: Request) -> Response:
    page = state_of(request)
    number = request.path_params["number"]
    with page.store.using(request.path_params["scan"]) as session:
        session.answer(number)
        return _stream(page, _explanation_events(page, session.identity, number))


async def _explanation_events(
    page: PageState, identity: str, number: int
) -> AsyncIterator[dict[str, Any]]:
    with page.store.using(identity) as session:
        answer = session.answer(number)
        if not answer.explanation:
            pieces = []
            explanation = page.client.explain(
                question=answer.question,
                result=answer.result if isinstance(answer.result, SegmentationResult) else None,
                deadline_s=page.options.explanation_deadline_s,
                **session.scan.question_arguments(answer.slice_index),
            )
            async with explanation:
                async for piece in explanation:
                    pieces.append(piece)
                    yield {"kind": "text", "text": piece}
            answer.explanation = "".join(pieces)
        yield {"kind": "explanation", "text": answer.explanation}


def _stream(page: PageState, events: AsyncIterator[dict[str, Any]]) -> Response:
    """Events as lines of JSON; an error is the last of them."""
    from starlette.responses import StreamingResponse

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for event in events:
                yield json.dumps(event).encode() + b"\n"
        # The status has been sent: even a fault of this process has to be told as an event.
        except Exception as error:
            if not isinstance(error, OrganSegError):
                _LOG.exception("a fault while an answer was streamed")
            problem = describe(error, page.options.servers).to_dict()
            yield json.dumps({"kind": "error", **problem}).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _read_question(request: Request) -> _Question:
    """The question of a request's body; raises `InvalidInputError` for any other body."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise QuestionError("wanted one short question, came a long text; ask one sentence")
    try:
        sent = json.loads(body)
        asked = _Question(sent["question"], Scope(sent["scope"]), sent["slice_index"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(
            "wanted JSON with question, scope (slice or volume) and slice_index, came another "
            "body; send these three"
        ) from error
    if not (isinstance(asked.question, str) and type(asked.slice_index) is int):
        raise InvalidInputError(
            "wanted a question in text and a slice index in digits, came others; send these"
        )
    return asked
