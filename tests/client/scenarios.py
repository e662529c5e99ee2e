"""What scenarios of both clients share: a picture, errors, and what a fleet of fakes was asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from client_fakes import Calls, FakeTransport

from organseg import errors
from organseg_client import (
    RetryPolicy,
)

IMAGE = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
QUESTION = "Which organ stores bile?"
AT_ONCE = RetryPolicy(first_wait_s=0)

BUSY = errors.ServerBusyError("wanted a place in the queue, got none; try again")
UNREACHABLE = errors.ServerUnreachableError("wanted a connection, got none; check the address")
DEAD = errors.StageDeadError("wanted a model whose process lives, got none; restart")
FAULT = errors.ServerFaultError("wanted a result, got 'boom'; read the log")

Open = Callable[..., Calls]


def inferences(*fleet: FakeTransport) -> list[int]:
    return [fake.calls.count("infer") for fake in fleet]
