"""When the requests of an open loop are due, and how late each is.

Users that wait for an answer before they ask again send less the slower the server is, and what
they then report leaves out the waiting of all the requests that were never sent (coordinated
omission). Here every request has a time at which it is due, fixed before the first is sent; one
that is sent late, since its user still waited for an answer, is counted from when it was due.
Locust's own `constant_throughput` lets such a user forget what it has missed.

Each user asks at a constant rate from a random moment on. Many such users together arrive about
as independent people do (a Poisson process): their sum is random, though each is regular.
"""

from __future__ import annotations

import random


class Schedule:
    """The due times of one user, in seconds of whichever clock `begin_s` was read from."""

    def __init__(self, begin_s: float, period_s: float, phase: float) -> None:
        self._begin_s = begin_s
        self._period_s = period_s
        self._phase = phase
        self._taken = 0

    @classmethod
    def of_user(cls, begin_s: float, users: int, rate_per_s: float, seed: str) -> Schedule:
        """The schedule of one of `users` that ask `rate_per_s` times together."""
        return cls(begin_s, users / rate_per_s, random.Random(seed).random())

    @property
    def due_s(self) -> float:
        """When the next request is due."""
        return self._begin_s + (self._phase + self._taken) * self._period_s

    def wait_s(self, now_s: float) -> float:
        """How long to wait for it; 0 where it is late."""
        return max(0.0, self.due_s - now_s)

    def take(self) -> float:
        """When the request that is sent now was due; the next one is due a period later."""
        due_s = self.due_s
        self._taken += 1
        return due_s
