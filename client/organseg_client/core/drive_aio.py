"""Carries effects out on an event loop: what runs beside the caller is a task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from organseg_client.core.effects import (
    END,
    Call,
    Effect,
    Exclusively,
    Give,
    Items,
    Join,
    Next,
    Open,
    Start,
    Steps,
    Take,
    Wait,
    Work,
)
from organseg_client.transport import AsyncResponseStream, AsyncTransport

__all__ = ["AsyncDriver", "AsyncIteration"]

T = TypeVar("T")


class AsyncDriver:
    """Carries out the steps of one client's verbs, on one event loop."""

    def __init__(self, transports: Sequence[AsyncTransport]) -> None:
        self.transports = transports
        # Gone once nobody holds or awaits them: open images have one each, and there may be many.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, steps: Steps[T]) -> T:
        """The steps' result."""
        return await _Run(self).to_end(steps)

    def iterate(self, steps: Steps[Any]) -> AsyncIteration[Any]:
        """What the steps give, one by one."""
        return AsyncIteration(self, steps)

    async def close(self) -> None:
        """Closes every transport."""
        for transport in self.transports:
            await transport.close()

    def lock(self, name: str) -> asyncio.Lock:
        """The lock of this name."""
        return self._locks.setdefault(name, asyncio.Lock())


class AsyncIteration(Generic[T]):
    """The values that steps give, as an async iterator that another task may close."""

    def __init__(self, driver: AsyncDriver, steps: Steps[Any]) -> None:
        self._run = _Run(driver)
        self._steps = steps
        self._turn = asyncio.Lock()
        self._is_over = False

    def __aiter__(self) -> AsyncIteration[T]:
        return self

    async def __anext__(self) -> T:
        async with self._turn:
            if not self._is_over:
                try:
                    given = await self._run.to_next(self._steps)
                except BaseException:
                    self._is_over = True
                    if not self._run.is_cancelled:
                        raise
                else:
                    if isinstance(given, Give):
                        return cast(T, given.value)
                    self._is_over = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the iteration and cancels what it has under way; a second call does nothing."""
        self._run.is_cancelled = True
        await self._run.leave()
        # A task that waits in `__anext__` ends the steps itself, now that they are cancelled.
        if not self._turn.locked():
            self._is_over = True
            self._steps.close()


class _Run:
    """One verb under way, with what it has opened and started."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self.is_cancelled = False
        self._streams: list[AsyncResponseStream] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def to_end(self, steps: Steps[T]) -> T:
        """The result of steps that give nothing."""
        try:
            ended = await self._advance(steps)
        finally:
            await self.leave()
        if isinstance(ended, Give):
            raise AssertionError("a verb with one result gave a value before it")
        return cast(T, ended.value)

    async def to_next(self, steps: Steps[Any]) -> Give | None:
        """The next value that the steps give; None where they have ended."""
        try:
            given = await self._advance(steps)
        except BaseException:
            await self.leave()
            raise
        if isinstance(given, Give):
            return given
        await self.leave()
        return None

    async def _advance(self, steps: Steps[Any]) -> Give | StopIteration:
        """Goes on to the next value, or to the end, which holds the result."""
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                effect = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop
            if isinstance(effect, Give):
                return effect
            answer, error = None, None
            try:
                answer = await self._carry_out(effect)
            except BaseException as raised:
                error = raised

    async def _carry_out(self, effect: Effect) -> Any:
        if self.is_cancelled:
            raise asyncio.CancelledError
        match effect:
            case Call(server, verb, arguments):
                return await getattr(self._driver.transports[server], verb.value)(*arguments)
            case Wait(seconds):
                return await asyncio.sleep(seconds)
            case Work(function):
                return await asyncio.to_thread(function)
            case Exclusively(name, steps, within_s):
                return await self._exclusively(self._driver.lock(name), steps, within_s)
            case Start(steps):
                task = asyncio.create_task(self._driver.run(steps))
                self._tasks.append(task)
                return task
            case Join(task):
                joined: Any = task
                result = await joined
                self._tasks.remove(joined)
                return result
            case Open(server, request):
                stream = self._driver.transports[server].stream(request)
                self._streams.append(stream)
                return stream
            case Next(stream):
                return await anext(stream, None)
            case Take(items):
                return await _next_item(items)
            case Give():
                raise AssertionError("a value is handed over where the steps are advanced")

    async def _exclusively(self, lock: asyncio.Lock, steps: Steps[Any], within_s: float) -> Any:
        # `wait_for` would lose a cancellation that comes together with the lock (Python 3.11).
        acquiring = asyncio.ensure_future(lock.acquire())
        try:
            done, _ = await asyncio.wait({acquiring}, timeout=within_s)
        except BaseException:
            if not acquiring.cancel():
                lock.release()
            raise
        if not done:
            acquiring.cancel()
            raise TimeoutError
        try:
            ended = await self._advance(steps)
        finally:
            lock.release()
        assert isinstance(ended, StopIteration)
        return ended.value

    async def leave(self) -> None:
        """Closes and cancels whatever is left."""
        streams, self._streams = self._streams, []
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for stream in streams:
            await stream.aclose()
        # So that no error is left that nobody has looked at.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next_item(items: Items[Any]) -> Any:
    if isinstance(items.iterator, Iterator):
        return next(items.iterator, END)
    return await anext(items.iterator, END)
