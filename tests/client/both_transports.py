"""Both transports behind the calls of one, so that each test runs through either."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from organseg_client import AsyncGrpcTransport, GrpcTransport

_PATIENCE_S = 60


class OnALoop:
    """An `AsyncGrpcTransport` on an event loop of its own, called from threads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.transport = AsyncGrpcTransport(*arguments, **options)
        except BaseException:
            self.end()
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self.run(getattr(self.transport, name)(*arguments))

    def run(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(_PATIENCE_S)

    def stream(self, request: Any) -> StreamOnALoop:
        return StreamOnALoop(self, self.transport.stream(request))

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()


class StreamOnALoop:
    """An `AsyncGrpcResponseStream`, iterated over from a thread."""

    def __init__(self, owner: OnALoop, stream: Any) -> None:
        self._owner = owner
        self._stream = stream

    def __iter__(self) -> StreamOnALoop:
        return self

    def __next__(self) -> Any:
        response = self._owner.run(self._next())
        if response is None:
            raise StopIteration
        return response

    async def _next(self) -> Any:
        # StopAsyncIteration cannot cross a future.
        return await anext(self._stream, None)

    def close(self) -> None:
        self._owner.run(self._stream.aclose())


@contextmanager
def opened(kind: str, *arguments: Any, **options: Any) -> Iterator[Any]:
    """A transport of one kind, closed at the end."""
    if kind == "threads":
        transport = GrpcTransport(*arguments, **options)
        try:
            yield transport
        finally:
            transport.close()
        return
    wrapped = OnALoop(*arguments, **options)
    try:
        yield wrapped
    finally:
        wrapped.close()
        wrapped.end()


KINDS = ("threads", "asyncio")
