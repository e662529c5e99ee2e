"""Batches made ahead by threads, in order: on a GPU one core cannot draw as fast as it learns.

Every batch has its own seed, so threads change nothing but the time it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Prefetcher(Generic[Made]):
    """Gives `make(0)`, `make(1)`, ... one after the other, made ahead by threads."""

    def __init__(self, make: Callable[[int], Made], *, workers: int, start: int = 0) -> None:
        """Begins with number `start`; with 0 workers, each is made when it is asked for."""
        self._make = make
        self._numbers: Iterator[int] = count(start)
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._ahead: deque[Future[Made]] = deque()
        self._depth = 2 * workers

    def next(self) -> Made:
        """The next one; what its making raised is raised here."""
        if self._pool is None:
            return self._make(next(self._numbers))
        while len(self._ahead) < self._depth:
            self._ahead.append(self._pool.submit(self._make, next(self._numbers)))
        return self._ahead.popleft().result()

    def close(self) -> None:
        """Drops what was made ahead and ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
