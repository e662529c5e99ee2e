"""The open sessions of a server: what is known of an image, by a handle that nobody can guess."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from organseg.contract import SessionLimits

T = TypeVar("T")

_RANDOM_BYTES = 32
"""Of a handle, before they are written as 43 letters, digits, `-` and `_`: 256 bits."""


@dataclass(frozen=True)
class SessionCounts:
    """How sessions went since the stage began."""

    opened: int = 0
    """Sessions that were opened."""
    evictions: int = 0
    """Sessions that ended early, to make room for others."""
    lost: int = 0
    """Questions whose session was not known."""
    open: int = 0
    """Sessions that are open now."""


@dataclass(frozen=True)
class _Entry(Generic[T]):
    image: T
    """What is known of the session's image."""
    ends_s: float
    """When the session is over unless it is asked before, on the table's clock."""


class SessionTable(Generic[T]):
    """Sessions by their handles, bounded in number and in age; may be used by many threads.

    A session ends when nobody has asked it for the lifetime, or when another is opened and there
    is no room: then the one that was asked longest ago ends.

    Args:
        limits: lifetime and number.
        clock: counts seconds, never back.
    """

    def __init__(self, limits: SessionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        if limits.handles < 1:
            raise ValueError(f"wanted room for one session or more, got {limits.handles}")
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        # Every question renews the whole lifetime, so one order is that of age and of ending.
        self._entries: OrderedDict[bytes, _Entry[T]] = OrderedDict()
        self._opened = self._evictions = self._lost = 0

    def open(self, image: T) -> bytes:
        """The handle of a new session; two of the same image have two handles."""
        handle = secrets.token_urlsafe(_RANDOM_BYTES).encode()
        with self._lock:
            self._drop_ended()
            while len(self._entries) >= self.limits.handles:
                self._entries.popitem(last=False)
                self._evictions += 1
            self._entries[handle] = self._entry(image)
            self._opened += 1
        return handle

    def ask(self, handle: bytes) -> T | None:
        """What is known of a session's image, whose lifetime begins anew.

        None for a session that has ended as for one that never was: whoever guesses learns nothing.
        """
        with self._lock:
            self._drop_ended()
            entry = self._entries.pop(handle, None)
            if entry is None:
                self._lost += 1
                return None
            self._entries[handle] = self._entry(entry.image)
        return entry.image

    def counts(self) -> SessionCounts:
        """How it went so far."""
        with self._lock:
            self._drop_ended()
            return SessionCounts(self._opened, self._evictions, self._lost, len(self._entries))

    def _entry(self, image: T) -> _Entry[T]:
        return _Entry(image, self._clock() + self.limits.lifetime_s)

    def _drop_ended(self) -> None:
        now = self._clock()
        while self._entries:
            handle, oldest = next(iter(self._entries.items()))
            if oldest.ends_s > now:
                return
            del self._entries[handle]
