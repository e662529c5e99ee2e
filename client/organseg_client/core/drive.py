"""Carries effects out by blocking calls: what runs beside the caller is a thread.

Threads and events of the standard library only, so it works under gevent, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from organseg.errors import InvalidInputError
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
from organseg_client.transport import ResponseStream, Transport

__all__ = ["Driver", "Iteration"]

T = TypeVar("T")


class Driver:
    """Carries out the steps of one client's verbs; may be used by many threads."""

    def __init__(self, transports: Sequence[Transport]) -> None:
        self.transports = transports
        # Gone once nobody holds or awaits them: open images have one each, and there may be many.
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def run(self, steps: Steps[T]) -> T:
        """The steps' result."""
        return _Run(self).to_end(steps)

    def iterate(self, steps: Steps[Any]) -> Iteration[Any]:
        """What the steps give, one by one."""
        return Iteration(self, steps)

    def close(self) -> None:
        """Closes every transport."""
        for transport in self.transports:
            transport.close()

    def lock(self, name: str) -> threading.Lock:
        """The lock of this name."""
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


class Iteration(Generic[T]):
    """The values that steps give, as an iterator that another thread may close."""

    def __init__(self, driver: Driver, steps: Steps[Any]) -> None:
        self._run = _Run(driver)
        self._steps = steps
        self._turn = threading.Lock()
        self._is_over = False

    def __iter__(self) -> Iteration[T]:
        return self

    def __next__(self) -> T:
        with self._turn:
            if not self._is_over:
                try:
                    given = self._run.to_next(self._steps)
                except BaseException:
                    self._is_over = True
                    if not self._run.is_cancelled:
                        raise
                else:
                    if isinstance(given, Give):
                        return cast(T, given.value)
                    self._is_over = True
        raise StopIteration

    def close(self) -> None:
        """Ends the iteration and cancels what it has under way; a second call does nothing."""
        self._run.cancel()
        # A thread that waits in `__next__` ends the steps itself, now that they are cancelled.
        if self._turn.acquire(blocking=False):
            try:
                self._is_over = True
                self._steps.close()
            finally:
                self._turn.release()


class _Run:
    """One verb under way, with what it has opened and started."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._cancelled = threading.Event()
        self._streams: list[ResponseStream] = []
        self._tasks: list[_Task] = []

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ends the steps at their next effect; calls that are on the wire are not waited for."""
        self._cancelled.set()
        self._leave()

    def to_end(self, steps: Steps[T]) -> T:
        """The result of steps that give nothing."""
        try:
            return self._to_end(steps)
        finally:
            self._leave()

    def to_next(self, steps: Steps[Any]) -> Give | None:
        """The next value that the steps give; None where they have ended."""
        try:
            effect = self._advance(steps)
        except StopIteration:
            self._leave()
            return None
        except BaseException:
            self._leave()
            raise
        return effect

    def _to_end(self, steps: Steps[T]) -> T:
        try:
            self._advance(steps)
        except StopIteration as stop:
            return cast(T, stop.value)
        raise AssertionError("a verb with one result gave a value before it")

    def _advance(self, steps: Steps[Any]) -> Give:
        """Goes on to the next value; raises `StopIteration` with the result at the end."""
        answer: Any = None
        error: BaseException | None = None
        while True:
            effect = steps.send(answer) if error is None else steps.throw(error)
            if isinstance(effect, Give):
                return effect
            answer, error = None, None
            try:
                answer = self._carry_out(effect)
            except BaseException as raised:
                error = raised

    def _carry_out(self, effect: Effect) -> Any:
        if self.is_cancelled:
            raise CancelledError
        match effect:
            case Call(server, verb, arguments):
                return getattr(self._driver.transports[server], verb.value)(*arguments)
            case Wait(seconds):
                return self._cancelled.wait(seconds)
            case Work(function):
                return function()
            case Exclusively(name, steps, within_s):
                lock = self._driver.lock(name)
                if not lock.acquire(timeout=within_s):
                    raise TimeoutError
                try:
                    return self._to_end(steps)
                finally:
                    lock.release()
            case Start(steps):
                task = _Task(self._driver, steps)
                self._tasks.append(task)
                return task
            case Join(task):
                joined: Any = task
                try:
                    return joined.result()
                finally:
                    self._tasks.remove(joined)
            case Open(server, request):
                stream = self._driver.transports[server].stream(request)
                self._streams.append(stream)
                return stream
            case Next(stream):
                return next(stream, None)
            case Take(items):
                return _next_item(items)
            case Give():
                raise AssertionError("a value is handed over where the steps are advanced")

    def _leave(self) -> None:
        """Closes and cancels whatever is left."""
        # Copies: another thread may be at work on the lists.
        for stream in tuple(self._streams):
            stream.close()
        for task in tuple(self._tasks):
            task.abandon()


class _Task:
    """Steps on a thread of their own; how many there are at once is the verb's to bound."""

    def __init__(self, driver: Driver, steps: Steps[Any]) -> None:
        self._run = _Run(driver)
        self._steps = steps
        self._future: Future[Any] = Future()
        threading.Thread(target=self._work, name="organseg-client", daemon=True).start()

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> Any:
        return self._future.result()

    def abandon(self) -> None:
        self._run.cancel()

    def _work(self) -> None:
        try:
            self._future.set_result(self._run.to_end(self._steps))
        except BaseException as error:
            self._future.set_exception(error)


def _next_item(items: Items[Any]) -> Any:
    if not isinstance(items.iterator, Iterator):
        raise InvalidInputError(
            "wanted requests to iterate over, got an async iterable; use AsyncOrganSegClient"
        )
    return next(items.iterator, END)
