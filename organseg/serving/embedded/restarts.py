"""How often a server that ends by itself is started again, before that is left to a person."""

from __future__ import annotations

from collections import deque

from organseg.errors import ServerStartError

DEFAULT_RESTARTS = 3
RESTARTS_WITHIN_S = 600.0
"""Starts further back than this, in seconds of serving, do not count."""


class Restarts:
    """So many starts in ten minutes of serving; raises `ServerStartError` for fewer than none.

    A server that ends once a day goes on for ever; one that ends whenever it is asked does not,
    however long it takes to load.
    """

    def __init__(self, most: int) -> None:
        if most < 0:
            raise ServerStartError(f"wanted no restarts or some, got {most}: change --restarts")
        self._most = most
        self._begun_s: deque[float] = deque()

    def take(self, served_s: float) -> bool:
        """Whether it may be started again; if so, that counts as one.

        Args:
            served_s: for how long it has served since the first start, all starts together.
        """
        while self._begun_s and served_s - self._begun_s[0] > RESTARTS_WITHIN_S:
            self._begun_s.popleft()
        if len(self._begun_s) >= self._most:
            return False
        self._begun_s.append(served_s)
        return True
