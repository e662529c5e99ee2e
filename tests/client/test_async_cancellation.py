"""Tasks that are cancelled while the real Triton works for them: it is left to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from toy_models import ECHO, echo_request, until, write_toy_models

from constructed import PICTURES
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg_client import AsyncOrganSegClient
from organseg_client.transports.grpc_aio import AsyncGrpcTransport

pytestmark = pytest.mark.server

QUESTION = "Which organ stores bile?"


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    return tmp_path / "signs"


@pytest.fixture
def server(tmp_path: Path, signs: Path) -> Iterator[EmbeddedServer]:
    write_toy_models(tmp_path / "models", signs, ECHO)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, stop_timeout_s=1)
    with EmbeddedServer(tmp_path / "models", options) as started:
        yield started


@asynccontextmanager
async def connected(server: EmbeddedServer) -> AsyncIterator[AsyncGrpcTransport]:
    transport = AsyncGrpcTransport(server.grpc_address)
    try:
        yield transport
    finally:
        await transport.close()


def test_what_is_under_way_is_finished_and_closing_waits_for_it(
    server: EmbeddedServer, signs: Path
) -> None:
    async def cancel_one() -> None:
        async with connected(server) as transport:
            task = asyncio.create_task(transport.infer(echo_request(waits=True)))
            await asyncio.to_thread(until, (signs / "echoing").exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            asyncio.get_running_loop().call_later(0.3, (signs / "go on").touch)
        assert (signs / "go on").exists()

    asyncio.run(asyncio.wait_for(cancel_one(), 60))


def test_many_cancelled_tasks_leave_the_server_up(left_address: str) -> None:
    async def cancel_many() -> None:
        chance = np.random.default_rng(0)
        async with AsyncOrganSegClient(left_address) as client:
            for _ in range(20):
                pictures = chance.integers(0, 256, (4, 96, 96), dtype=np.uint8)
                tasks = [asyncio.create_task(client.segment(each, QUESTION)) for each in pictures]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            result = await client.segment(PICTURES[0], QUESTION)
            assert [organ.name for organ in result.organs] == ["gallbladder"]

    asyncio.run(asyncio.wait_for(cancel_many(), 240))
