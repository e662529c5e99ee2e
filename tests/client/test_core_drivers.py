"""The drivers: cancelling, closing from elsewhere, and what is left running (nothing)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncFakeTransport, FakeTransport, Gate

from organseg import errors
from organseg_client import (
    AsyncOrganSegClient,
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    OrganSegClient,
    Outcome,
)

IMAGE = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
QUESTION = "Which organ stores bile?"


class NeverAnswers(AsyncFakeTransport):
    """Holds every inference until its task is cancelled."""

    def __init__(self) -> None:
        super().__init__(FakeTransport())
        self.waiting = 0
        self.cancelled = 0
        self.arrived = asyncio.Event()

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        self.waiting += 1
        self.arrived.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("an event that nobody sets was set")


def test_cancelling_a_task_cancels_its_request_and_gives_the_server_back() -> None:
    async def scenario() -> None:
        transport = NeverAnswers()
        async with AsyncOrganSegClient("a:1", transport=transport) as client:
            task = asyncio.create_task(client.segment(IMAGE, QUESTION))
            await transport.arrived.wait()
            server = client._session.balancer.servers[0]
            assert server.outstanding == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.cancelled == 1
            assert server.outstanding == 0

    asyncio.run(scenario())


def test_cancelling_the_reader_of_many_cancels_all_that_run() -> None:
    async def scenario() -> None:
        transport = NeverAnswers()
        async with AsyncOrganSegClient("a:1", transport=transport) as client:

            async def read() -> list[Outcome]:
                requests = [(IMAGE, QUESTION)] * 9
                return [one async for one in client.segment_many(requests, concurrency=3)]

            task = asyncio.create_task(read())
            while transport.waiting < 3:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (transport.waiting, transport.cancelled) == (3, 3)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_closing_many_from_another_task_ends_its_reader() -> None:
    async def scenario() -> None:
        transport = NeverAnswers()
        async with AsyncOrganSegClient("a:1", transport=transport) as client:
            outcomes = client.segment_many([(IMAGE, QUESTION)] * 9, concurrency=2)

            async def read() -> list[Outcome]:
                return [one async for one in outcomes]

            task = asyncio.create_task(read())
            while transport.waiting < 2:
                await asyncio.sleep(0)
            await outcomes.aclose()
            assert await task == []
            assert transport.cancelled == 2

    asyncio.run(scenario())


def test_a_call_that_waits_for_anothers_check_can_be_cancelled_and_blocks_nobody() -> None:
    class SlowToSay(AsyncFakeTransport):
        asked = 0

        async def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
            self.asked += 1
            await released.wait()
            return await super().model_config(model_name, deadline_s)

    async def scenario() -> None:
        transport = SlowToSay(FakeTransport())
        async with AsyncOrganSegClient("a:1", transport=transport) as client:
            first = asyncio.create_task(client.connect())
            while not transport.asked:
                await asyncio.sleep(0)
            second = asyncio.create_task(client.connect())
            third = asyncio.create_task(client.connect(deadline_s=0.01))
            with pytest.raises(errors.DeadlineExceededError, match="another call"):
                await third
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            released.set()
            await first
            await client.segment(IMAGE, QUESTION)
            assert transport.asked == 1

    released = asyncio.Event()
    asyncio.run(scenario())


def test_requests_may_come_from_an_async_iterable() -> None:
    async def requests() -> AsyncIterator[tuple[Any, str]]:
        for _ in range(5):
            await asyncio.sleep(0)
            yield IMAGE, QUESTION

    async def scenario() -> list[int]:
        transport = AsyncFakeTransport(FakeTransport())
        async with AsyncOrganSegClient("a:1", transport=transport) as client:
            return [one.index async for one in client.segment_many(requests(), concurrency=2)]

    assert asyncio.run(scenario()) == [0, 1, 2, 3, 4]


def test_the_synchronous_client_names_the_one_that_takes_async_requests() -> None:
    async def requests() -> AsyncIterator[tuple[Any, str]]:
        yield IMAGE, QUESTION

    with OrganSegClient(transport=FakeTransport()) as client:
        given: Any = requests()
        with pytest.raises(errors.InvalidInputError, match="AsyncOrganSegClient"):
            list(client.segment_many(given))


def test_the_loop_goes_on_while_an_image_is_encoded() -> None:
    async def scenario() -> None:
        here = threading.get_ident()
        seen: list[int] = []

        class Picture(np.ndarray):  # type: ignore[type-arg]
            def __getattribute__(self, name: str) -> Any:
                seen.append(threading.get_ident())
                return super().__getattribute__(name)

        transport = AsyncFakeTransport(FakeTransport())
        async with AsyncOrganSegClient("a:1", transport=transport) as client:
            await client.segment(IMAGE.view(Picture), QUESTION)
        assert seen
        assert here not in seen

    asyncio.run(scenario())


class Telephone:
    """A stream whose next piece comes when it is hung up."""

    def __init__(self) -> None:
        self.hung_up = threading.Event()
        self.waiting = threading.Event()

    def __iter__(self) -> Telephone:
        return self

    def __next__(self) -> InferenceResponse:
        self.waiting.set()
        assert self.hung_up.wait(timeout=20)
        raise errors.ServerUnreachableError("wanted the call to go on, it was cancelled; call")

    def close(self) -> None:
        self.hung_up.set()


def test_another_thread_may_close_a_stream_that_waits_for_its_next_piece() -> None:
    from organseg_client.core.effects import give, next_response, open_stream

    telephone = Telephone()

    class Exchange(FakeTransport):
        def stream(self, request: InferenceRequest) -> Any:
            return telephone

    def steps() -> Any:
        stream = yield from open_stream(0, InferenceRequest("t", {}, (), {}, "7", 1.0))
        while (response := (yield from next_response(stream))) is not None:
            yield from give(response)

    with OrganSegClient(transport=Exchange()) as client:
        pieces = client._driver.iterate(steps())
        read: list[Any] = []
        thread = threading.Thread(target=lambda: read.append(list(pieces)))
        thread.start()
        assert telephone.waiting.wait(timeout=20)
        pieces.close()
        thread.join(timeout=20)
        assert read == [[]]


def test_closing_many_ends_pauses_and_lets_no_further_request_out() -> None:
    fake = FakeTransport(failure=errors.ServerBusyError("wanted room, got none; try again"))
    started = threading.active_count()
    with OrganSegClient(transport=fake, deadline_s=60) as client:
        outcomes = client.segment_many([(IMAGE, QUESTION)] * 4, concurrency=2)
        next(outcomes)
        outcomes.close()
        sent = len(fake.requests)
        for thread in threading.enumerate():
            if thread.name == "organseg-client":
                thread.join(timeout=20)
        assert len(fake.requests) <= sent + 2
        assert threading.active_count() == started


def test_threads_share_one_client_and_each_gets_its_own_answer_from_either_server() -> None:
    gate = Gate(wanted=8)
    fleet = {"a:1": FakeTransport(gate=gate), "b:1": FakeTransport(gate=gate)}
    shapes: dict[int, tuple[int, ...]] = {}
    with OrganSegClient(list(fleet), transport=fleet.__getitem__) as client:

        def ask(index: int) -> None:
            image = np.zeros((16 + index, 24), dtype=np.uint8)
            shapes[index] = client.segment(image, QUESTION).masks.shape[1:]

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert [server.outstanding for server in client._session.balancer.servers] == [0, 0]
    assert shapes == {index: (16 + index, 24) for index in range(8)}
    assert [len(fake.requests) for fake in fleet.values()] == [4, 4]
