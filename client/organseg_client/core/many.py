"""The verb `segment_many`: a bounded number of questions at once, answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import Any, TypeAlias

from organseg.errors import InvalidInputError, OrganSegError
from organseg_client.core.effects import END, Items, Steps, Task, give, join, start, take
from organseg_client.core.segment import segment
from organseg_client.core.session import Session
from organseg_client.outcome import Outcome, SegmentRequest
from organseg_client.result import SegmentationResult

__all__ = ["Asked", "segment_many"]

Asked: TypeAlias = "SegmentRequest | tuple[Any, str | bytes]"
"""What may stand for one request: the whole value, or image and question."""

_Running: TypeAlias = "tuple[SegmentRequest, Task[SegmentationResult]]"


def segment_many(
    session: Session,
    requests: Iterable[Asked] | AsyncIterable[Asked],
    concurrency: int,
    deadline_s: float | None,
) -> Steps[None]:
    """Steps that give an `Outcome` for each request, in order.

    At most `concurrency` requests are taken whose outcome was not given yet, so neither images nor
    masks pile up, however many there are. Raises `InvalidInputError` at once for a concurrency or
    a deadline that is none.
    """
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidInputError(
            f"wanted a concurrency of at least 1 request at a time, got {concurrency!r}; "
            "give for example 8"
        )
    session.deadline(deadline_s)
    session.require_open()
    return _segment_many(session, Items(requests), concurrency, deadline_s)


def _segment_many(
    session: Session, requests: Items[Asked], concurrency: int, deadline_s: float | None
) -> Steps[None]:
    running: deque[_Running] = deque()
    index = 0
    failure: Exception | None = None
    is_ended = False
    while running or not is_ended:
        # What is done is given before more is asked for: the caller's next request may take its
        # time, or depend on this outcome.
        if running and (is_ended or len(running) == concurrency or running[0][1].done()):
            yield from give((yield from _outcome(index, *running.popleft())))
            index += 1
            continue
        try:
            item = yield from take(requests)
            asked = None if item is END else _request(item)
        except Exception as error:
            # The answers to what came before are still given.
            failure, asked = error, None
        if asked is None:
            is_ended = True
        else:
            running.append((asked, (yield from start(segment(session, asked, deadline_s)))))
    if failure is not None:
        raise failure


def _outcome(index: int, asked: SegmentRequest, task: Task[SegmentationResult]) -> Steps[Outcome]:
    try:
        result = yield from join(task)
    except OrganSegError as error:
        return Outcome(index, asked, None, error)
    return Outcome(index, asked, result, None)


def _request(item: Asked) -> SegmentRequest:
    if isinstance(item, SegmentRequest):
        return item
    if isinstance(item, tuple) and len(item) == 2:
        return SegmentRequest(*item)
    raise InvalidInputError(
        f"wanted each request as a SegmentRequest or as (image, question), got "
        f"{type(item).__name__}; wrap the two in a tuple"
    )
