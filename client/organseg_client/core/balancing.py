"""Which server to ask: the least busy of those that are believed to be well.

A server that failed rests: others are asked first. Its rest doubles with each failure and ends
with the first success. Rest is a preference, not a ban: where every server rests, the one whose
rest ends first is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

__all__ = ["FIRST_REST_S", "LONGEST_REST_S", "Balancer", "Server"]

FIRST_REST_S = 0.5
"""How long a server rests that failed once, seconds."""

LONGEST_REST_S = 30.0
"""Where the doubling stops, seconds."""


@dataclass(eq=False)
class Server:
    """What is known of one address; changed by the `Balancer` alone."""

    index: int
    """Its place among the addresses, and of its transport."""
    url: str
    """Its address."""
    outstanding: int = 0
    """Calls that are under way."""
    failures: int = 0
    """Rests in a row without a success between them."""
    rests_until_s: float = 0.0
    """When its rest ends, by the balancer's clock."""
    last_asked: int = 0
    """When it was last asked, counted in calls."""
    is_checked: bool = False
    """Whether it was found ready and of this contract since its connection last failed."""


class Balancer:
    """Chooses servers and keeps count of their calls; may be used by many threads."""

    def __init__(self, urls: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.servers = tuple(Server(index, url) for index, url in enumerate(urls))
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = 0

    def take(self, tried: Collection[Server] = (), preferred: Server | None = None) -> Server:
        """The server to ask next, one call more outstanding; give it back with `give_back`.

        Servers that this call has tried already come behind the others. A preferred one is asked
        however busy it is, unless it was tried, rests, or is on trial.
        """
        with self._lock:
            now = self._clock()

            def rank(server: Server) -> tuple[float, ...]:
                rest_s = max(0.0, server.rests_until_s - now)
                # One call finds out whether a server that has rested is well again.
                on_trial = server.failures > 0 and server.outstanding > 0
                is_other = server is not preferred
                load = (server.outstanding, server.last_asked)
                return (server in tried, rest_s, on_trial, is_other, *load)

            chosen = min(self.servers, key=rank)
            self._asked += 1
            chosen.last_asked = self._asked
            chosen.outstanding += 1
            return chosen

    def ask(self, server: Server) -> None:
        """Counts a call to this very server; give it back with `give_back`."""
        with self._lock:
            server.outstanding += 1

    def give_back(self, server: Server) -> None:
        """Ends a call that `take` or `ask` began."""
        with self._lock:
            server.outstanding -= 1

    def succeeded(self, server: Server) -> None:
        """The server answered: it needs no rest."""
        with self._lock:
            server.failures, server.rests_until_s = 0, 0.0

    def failed(self, server: Server) -> None:
        """The server failed: it rests, longer each time."""
        with self._lock:
            now = self._clock()
            if server.rests_until_s > now:
                # Calls that were under way when it failed; they say nothing new.
                return
            server.failures += 1
            rest_s = FIRST_REST_S * 2.0 ** min(server.failures - 1, 60)
            server.rests_until_s = now + min(LONGEST_REST_S, rest_s)

    def has_fresh(self, tried: Collection[Server]) -> bool:
        """Whether there is a server that this call has not tried and that does not rest."""
        return any(server not in tried and not self.rests(server) for server in self.servers)

    def rests(self, server: Server) -> bool:
        """Whether the server failed a short while ago."""
        with self._lock:
            return server.rests_until_s > self._clock()
