"""Things kept by their key up to a number of bytes, the least recently used out first."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Generic, Protocol, TypeVar

from cachetools import LRUCache


class Sized(Protocol):
    """What can be kept: it knows how large it is."""

    @property
    def nbytes(self) -> int:
        """What it takes, bytes."""
        ...


Thing = TypeVar("Thing", bound=Sized)


@dataclass(frozen=True)
class KeptCounts:
    """How keeping went since the stage began."""

    hits: int = 0
    """Requests for which nothing had to be computed: it was kept, or being computed already."""
    misses: int = 0
    """Requests for which it had to be computed."""
    evictions: int = 0
    """Things that went to make room for others."""
    kept_bytes: int = 0
    """What is kept now, bytes."""


class Kept(Generic[Thing]):
    """Safe to use from several threads."""

    def __init__(self, most_bytes: int) -> None:
        """Keeps at most so many bytes; a single thing that is larger is not kept."""
        self._things: _CountingCache[Thing] = _CountingCache(most_bytes)
        self._lock = Lock()
        self._hits = self._misses = 0

    def get(self, key: bytes) -> Thing | None:
        """What is kept under a key, which is now the last used; none where nothing is."""
        with self._lock:
            return self._things.get(key)

    def put(self, key: bytes, thing: Thing) -> bool:
        """Keeps a thing; says whether it found room."""
        with self._lock:
            if thing.nbytes > self._things.maxsize:
                return False
            self._things[key] = thing
            return True

    def count(self, *, hits: int = 0, misses: int = 0) -> None:
        """Takes down how requests fared."""
        with self._lock:
            self._hits += hits
            self._misses += misses

    def counts(self) -> KeptCounts:
        """How it went so far."""
        with self._lock:
            things = self._things
            return KeptCounts(self._hits, self._misses, things.evictions, int(things.currsize))


class _CountingCache(LRUCache[bytes, Thing]):
    def __init__(self, most_bytes: int) -> None:
        super().__init__(maxsize=most_bytes, getsizeof=lambda thing: thing.nbytes)
        self.evictions = 0

    def popitem(self) -> tuple[bytes, Thing]:
        self.evictions += 1
        return super().popitem()
