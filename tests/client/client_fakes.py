"""A server that is none: answers by the contract whatever the client's transport is given.

`FakeTransport` is for the synchronous client, `AsyncFakeTransport` puts one behind `await`, and
`Calls` runs either client by the same few methods, so that one test speaks for both.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    EXPLAIN_NAME,
    TINY,
    Tensor,
    Verdict,
    ensemble_tensors,
)
from organseg.imaging.decoding import decode_image
from organseg_client import (
    AsyncOrganSegClient,
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    OrganSegClient,
    ServerMetadata,
)
from organseg_client.core.effects import Steps

RECEIVED: dict[str, Tensor] = {tensor.name: tensor for tensor in ensemble_tensors(TINY)[1]}

GALLBLADDER = ((9, Verdict.SEGMENTED),)
BOTH_KIDNEYS = ((2, Verdict.SEGMENTED), (13, Verdict.SEGMENTED))
SPLEEN_ABSENT = ((3, Verdict.ABSENT_IN_IMAGE),)
LIVER_BUT_NO_SPLEEN = ((1, Verdict.SEGMENTED), (3, Verdict.ABSENT_IN_IMAGE))
OUT_OF_SCOPE = ((14, Verdict.OUT_OF_SCOPE),)

Entries = tuple[tuple[int, Verdict], ...]


def boxes_of(entries: Entries, size_hw: tuple[int, int]) -> np.ndarray:
    """One box an entry, side by side in the upper half; zeros unless segmented."""
    height, width = size_hw
    boxes = np.zeros((len(entries), 4), dtype=np.float32)
    step = width // len(entries)
    for index, (_, verdict) in enumerate(entries):
        if verdict is Verdict.SEGMENTED:
            boxes[index] = [index * step, 1, index * step + step - 1, height // 2]
    return boxes


def outputs_of(entries: Entries, size_hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """A whole response that fits the contract: each mask fills its box."""
    boxes = boxes_of(entries, size_hw)
    masks = np.zeros((len(entries), *size_hw), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    arrays = {
        "MASKS": masks,
        "ORGANS": np.array([organ_id for organ_id, _ in entries], dtype=np.int32),
        "VERDICTS": np.array([verdict.value.encode() for _, verdict in entries], dtype=object),
        "BOXES": boxes,
        "QUALITY": masks.any(axis=(1, 2)).astype(np.float32) * np.float32(0.75),
        "SIMILARITY": np.linspace(-0.5, 0.8, 14, dtype=np.float32),
        "PRESENCE": np.linspace(0, 1, 13, dtype=np.float32),
    }
    for name, array in arrays.items():
        assert array.dtype == RECEIVED[name].dtype.numpy, name
    return {name: array[None] for name, array in arrays.items()}


@dataclass
class FakeTransport:
    """A `Transport` that keeps what it was sent and answers with `entries`, image by image."""

    entries: Entries = GALLBLADDER
    ready: bool = True
    parameters: dict[str, str] = field(
        default_factory=lambda: {CONTRACT_PARAMETER: CONTRACT_VERSION, "preset": "tiny"}
    )
    explains: bool = False
    failure: BaseException | None = None
    failures: deque[BaseException | None] = field(default_factory=deque)
    """What the next calls of a model come to, one each; None for an answer."""
    pieces: tuple[InferenceResponse | BaseException, ...] = ()
    """What a stream holds."""
    models: tuple[ModelStatistics, ...] = ()
    gate: Gate | None = None
    changed_outputs: dict[str, Any] = field(default_factory=dict)
    requests: list[InferenceRequest] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        if self.gate is not None:
            with self.gate:
                self.gate.wait()
                return self.answer(request)
        return self.answer(request)

    def answer(self, request: InferenceRequest) -> InferenceResponse:
        self.calls.append("infer")
        self.deadlines_s.append(request.deadline_s)
        self.requests.append(request)
        failure = self.failures.popleft() if self.failures else self.failure
        if failure is not None:
            raise failure
        return self.respond(request)

    def respond(self, request: InferenceRequest) -> InferenceResponse:
        window = request.inputs.get("WINDOW")
        decoded = decode_image(
            request.inputs["IMAGE"][0, 0],
            None if window is None else (float(window[0, 0]), float(window[0, 1])),
        )
        stored_size_hw = decoded.orientation.invert(decoded.pixels).shape
        outputs = {**outputs_of(self.entries, stored_size_hw), **self.changed_outputs}
        return InferenceResponse(
            outputs={name: array for name, array in outputs.items() if array is not None},
            request_id=request.request_id,
        )

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        self.calls.append(f"model_config {model_name}")
        self.deadlines_s.append(deadline_s)
        return ModelConfig(name=model_name, parameters=self.parameters)

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        self.calls.append(f"is_ready {model_name}")
        self.deadlines_s.append(deadline_s)
        return self.explains if model_name == EXPLAIN_NAME else self.ready

    def server_metadata(self, deadline_s: float) -> ServerMetadata:
        self.calls.append("server_metadata")
        return ServerMetadata("fake", "2.51.0", ("statistics",))

    def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        self.calls.append("statistics")
        if self.failure is not None:
            raise self.failure
        return self.models

    def stream(self, request: InferenceRequest) -> FakeStream:
        self.calls.append("stream")
        self.requests.append(request)
        failure = self.failures.popleft() if self.failures else self.failure
        return FakeStream(self, deque(self.pieces if failure is None else (failure,)))

    def close(self) -> None:
        self.calls.append("close")


class Gate:
    """Counts the calls under way, and holds each until `wanted` of them are there at once.

    So a test that passes has seen them side by side; one that hangs ends at the time limit.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.inside = self.peak = 0
        self.changed = threading.Condition()

    def __enter__(self) -> Gate:
        with self.changed:
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            self.changed.notify_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.inside -= 1

    @property
    def is_open(self) -> bool:
        return self.peak >= self.wanted

    def wait(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_open, timeout=20)

    async def wait_async(self) -> None:
        while not self.is_open:
            await asyncio.sleep(0)


@dataclass
class FakeStream:
    """A stream of a fake transport, as an iterator and as an async one."""

    transport: FakeTransport
    pieces: deque[InferenceResponse | BaseException]

    def __iter__(self) -> FakeStream:
        return self

    def __next__(self) -> InferenceResponse:
        if not self.pieces:
            raise StopIteration
        piece = self.pieces.popleft()
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        self.transport.calls.append("close stream")
        self.pieces.clear()

    def __aiter__(self) -> FakeStream:
        return self

    async def __anext__(self) -> InferenceResponse:
        await asyncio.sleep(0)
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


@dataclass
class AsyncFakeTransport:
    """A `FakeTransport` behind `await`."""

    fake: FakeTransport

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        gate = self.fake.gate
        if gate is not None:
            with gate:
                await gate.wait_async()
                return self.fake.answer(request)
        await asyncio.sleep(0)
        return self.fake.answer(request)

    def stream(self, request: InferenceRequest) -> FakeStream:
        return self.fake.stream(request)

    async def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        return self.fake.model_config(model_name, deadline_s)

    async def is_ready(self, model_name: str, deadline_s: float) -> bool:
        await asyncio.sleep(0)
        return self.fake.is_ready(model_name, deadline_s)

    async def server_metadata(self, deadline_s: float) -> ServerMetadata:
        return self.fake.server_metadata(deadline_s)

    async def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        return self.fake.statistics(deadline_s)

    async def close(self) -> None:
        self.fake.close()


Fleet = Mapping[str, FakeTransport] | Sequence[str]
"""Fakes by address, or the addresses of real servers."""


class Calls:
    """The synchronous client on a fleet."""

    def __init__(self, fleet: Fleet, **options: Any) -> None:
        if isinstance(fleet, Mapping):
            options["transport"] = fleet.__getitem__
        self.client: Any = OrganSegClient(list(fleet), **options)

    def on(self, opened: Any) -> Any:
        """The same for what the client has opened: its verbs instead of the client's."""
        calls = copy.copy(self)
        calls.client = opened
        return calls

    def call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """The result of a verb."""
        return getattr(self.client, verb)(*arguments, **options)

    def each(self, iterator: Any) -> Iterator[Any]:
        """The values of an iterator of the client's."""
        return iter(iterator)

    def stream(self, steps: Callable[[Any], Steps[None]]) -> Any:
        """An iterator over what steps give that are made from the client's session."""
        return self.client._driver.iterate(steps(self.client._session))

    def close(self, iterator: Any) -> None:
        """Closes an iterator of the client's."""
        iterator.close()

    def together(self, verb: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """The results of several calls that run at once."""
        found: dict[int, Any] = {}

        def run(index: int, one: tuple[Any, ...]) -> None:
            found[index] = self.call(verb, *one)

        threads = [
            threading.Thread(target=run, args=(index, one)) for index, one in enumerate(arguments)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        return [found[index] for index in sorted(found)]

    def end(self) -> None:
        """Takes away what the client ran on."""


class AsyncCalls(Calls):
    """The asynchronous client, run by an event loop of its own."""

    def __init__(self, fleet: Fleet, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        if isinstance(fleet, Mapping):
            options["transport"] = lambda url: AsyncFakeTransport(fleet[url])
        self.client = AsyncOrganSegClient(list(fleet), **options)

    def call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        return self.loop.run_until_complete(getattr(self.client, verb)(*arguments, **options))

    def each(self, iterator: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self.loop.run_until_complete(iterator.__anext__())  # type: ignore[arg-type]
            except StopAsyncIteration:
                return

    def close(self, iterator: Any) -> None:
        self.loop.run_until_complete(iterator.aclose())

    def together(self, verb: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        async def run() -> list[Any]:
            method = getattr(self.client, verb)
            return await asyncio.gather(*(method(*one) for one in arguments))

        return self.loop.run_until_complete(run())

    def end(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
