"""A client of either kind on a fleet of fakes, for scenarios that run through both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from client_fakes import AsyncCalls, Calls, FakeTransport
from scenarios import AT_ONCE, Open

from organseg_client import ConnectionOptions, RetryPolicy


@pytest.fixture(params=[Calls, AsyncCalls], ids=["sync", "async"])
def open_calls(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Makes a client of either kind on a fleet of fakes; retries come at once."""
    made: list[Calls] = []

    def make(*fleet: FakeTransport, retry: RetryPolicy = AT_ONCE, **options: Any) -> Calls:
        named = {f"server-{index}:8001": fake for index, fake in enumerate(fleet)}
        calls = request.param(named, options=ConnectionOptions(retry=retry), **options)
        made.append(calls)
        return calls

    yield make
    for calls in made:
        calls.end()
