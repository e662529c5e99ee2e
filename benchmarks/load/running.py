"""Runs one window of load: starts the load process and watches the server meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load.plan import LoadPlan
from benchmarks.load.target import TargetSpec
from benchmarks.load.window import Window


@dataclass(frozen=True)
class ServerView:
    """Where the server can be looked at from outside; each part may be missing."""

    session: int | None = None
    """The session of its processes on this machine (`EmbeddedServer.process_group`)."""
    statistics_address: str | None = None
    """`HOST:PORT` of Triton's gRPC service, for its statistics; None for a peer."""
    metrics_url: str | None = None
    """Where it tells its metrics, for what is kept."""


def run_window(
    spec: TargetSpec,
    plan: LoadPlan,
    server: ServerView = ServerView(),
    *,
    progress: Callable[[int], object] | None = None,
) -> Window:
    """One window of load on one target.

    Args:
        spec: who is asked.
        plan: the mix, the loop, users and rate, the length, and the workload.
        server: where its cost is seen.
        progress: is told now and then how many requests were done, warm-up included.

    Raises:
        OrganSegError: the load process could not be started or failed as a whole. Requests that
            fail are counted in the window, not raised.
    """
    raise NotImplementedError
