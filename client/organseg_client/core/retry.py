"""Which errors are worth another attempt, and how long to pause before it."""

from __future__ import annotations

from organseg.errors import (
    DeadlineExceededError,
    OrganSegError,
    ServerBusyError,
    ServerUnreachableError,
    StageDeadError,
)
from organseg_client.options import RetryPolicy

__all__ = ["is_a_failed_server", "is_worth_a_retry", "pause_s"]

_WORTH_A_RETRY = (ServerBusyError, ServerUnreachableError, StageDeadError)
"""What another server, or the same one in a moment, may answer. Subclasses of these only: a fault
of another kind would happen again, and so would a refusal."""


def is_worth_a_retry(error: OrganSegError) -> bool:
    """Whether the same request may succeed when it is sent again."""
    return isinstance(error, _WORTH_A_RETRY)


def is_a_failed_server(error: OrganSegError) -> bool:
    """Whether other servers should be asked before this one, for a while.

    An overdue answer is no reason to ask again (the caller's time is up), but others should be
    asked first: a server that hangs would keep a share of all calls otherwise.
    """
    return is_worth_a_retry(error) or isinstance(error, DeadlineExceededError)


def pause_s(policy: RetryPolicy, failed: int, fraction: float) -> float:
    """The pause behind the attempt number `failed`, which counts from 1; seconds.

    `fraction`, drawn evenly from 0 to 1, is full jitter: the pause is anything up to a bound that
    doubles each time.
    """
    # The exponent is bounded for policies of very many attempts.
    bound = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** min(failed - 1, 60))
    return bound * fraction
