"""What one client knows: its servers, its options, and whether it is still open."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from organseg.errors import DeadlineExceededError, OrganSegError, ServerUnreachableError
from organseg_client.core.balancing import Balancer, Server
from organseg_client.core.retry import is_a_failed_server
from organseg_client.deadline import Deadline
from organseg_client.options import RetryPolicy

__all__ = ["Session"]

_SILENT_S = 1.0
"""A server that was given less time than this, seconds, has not failed by using it up."""


class Session:
    """The state that a client's calls share; may be used by many threads.

    `fraction` gives the jitter of pauses, evenly from 0 to 1; `clock` counts seconds.

    Raises `InvalidInputError` for a deadline that is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        deadline_s: float,
        retry: RetryPolicy,
        *,
        fraction: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        Deadline(deadline_s)
        self.balancer = Balancer(urls, clock)
        self.retry = retry
        self.fraction = fraction
        self.is_closed = False
        self._deadline_s = deadline_s

    def deadline(self, seconds: float | None) -> Deadline:
        """A deadline that runs from now; None for the client's."""
        return Deadline(self._deadline_s if seconds is None else seconds)

    def require_open(self) -> None:
        """Raises `ServerUnreachableError` once the client was closed."""
        if self.is_closed:
            raise ServerUnreachableError(
                "wanted an open client, this one was closed; make another OrganSegClient"
            )

    def note(self, server: Server, error: OrganSegError, spent_s: float) -> None:
        """Lets a server rest, where the error is its own; `spent_s` is the time it was given."""
        if not is_a_failed_server(error) or self.is_closed:
            return
        if isinstance(error, DeadlineExceededError) and spent_s < _SILENT_S:
            return
        if isinstance(error, (ServerUnreachableError, DeadlineExceededError)):
            # Whatever answers next at this address may be another server.
            server.is_checked = False
        self.balancer.failed(server)
