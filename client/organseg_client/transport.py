"""What carries a request to a server and its response back, as protocols of a few calls.

`OrganSegClient(transport=...)` takes anything that has them, so that code that uses the client
is tested without a server. Everything here is plain values: no gRPC type goes in or out, and a
transport raises errors of `organseg.errors` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = [
    "AsyncResponseStream",
    "AsyncTransport",
    "InferenceRequest",
    "InferenceResponse",
    "ModelConfig",
    "ModelStatistics",
    "ResponseStream",
    "ServerMetadata",
    "Transport",
]


@dataclass(frozen=True, eq=False)
class InferenceRequest:
    """One call of one model."""

    model_name: str
    """The Triton model to run."""
    inputs: Mapping[str, NDArray[Any]] = field(repr=False)
    """Input tensors by name, batch axis in front; text and files as object arrays of bytes."""
    outputs: tuple[str, ...]
    """Names of the output tensors to send back."""
    parameters: Mapping[str, str]
    """Request parameters."""
    request_id: str
    """The id under which server logs know the request."""
    deadline_s: float
    """Seconds until the caller no longer waits; finite, above zero."""
    output_bytes: Mapping[str, int] = field(default_factory=dict)
    """The most bytes that an output can have, where that is known: a transport may then receive
    it through shared memory."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that go with this call alone, for proxies to route by; names in lower case."""


@dataclass(frozen=True, eq=False)
class InferenceResponse:
    """What a model answered."""

    outputs: Mapping[str, NDArray[Any]] = field(repr=False)
    """Output tensors by name, batch axis in front; text as object arrays of bytes."""
    request_id: str
    """The id of the request that this answers."""


@dataclass(frozen=True)
class ModelConfig:
    """What a client needs of a model's configuration."""

    name: str
    """The Triton model."""
    parameters: Mapping[str, str]
    """The configuration's parameters."""


@dataclass(frozen=True)
class ServerMetadata:
    """What a server says of itself."""

    name: str
    """What it calls itself: `triton`, or the id it was started with."""
    version: str
    """The version of Triton."""
    extensions: tuple[str, ...]
    """Parts of the protocol that it offers: `statistics`, `system_shared_memory`, …"""


@dataclass(frozen=True)
class ModelStatistics:
    """What one model of a server has done since it was loaded."""

    name: str
    """The Triton model."""
    version: str
    """Its version folder."""
    successes: int
    """Requests that were answered."""
    failures: int
    """Requests that ended in an error."""
    executions: int
    """Times that the model ran; one run may answer several requests."""
    inferences: int
    """Requests that the runs answered, each counted with its batch."""
    queue_ms: float
    """Mean time that an answered request waited for its run, milliseconds."""
    compute_input_ms: float
    """Mean time to bring a request's inputs to the model, milliseconds."""
    compute_infer_ms: float
    """Mean time in the model, milliseconds."""
    compute_output_ms: float
    """Mean time to bring the outputs back, milliseconds."""

    @property
    def compute_ms(self) -> float:
        """Mean time that an answered request took behind its queue, milliseconds."""
        return self.compute_input_ms + self.compute_infer_ms + self.compute_output_ms

    @property
    def mean_batch(self) -> float:
        """Requests per run; 0 before the first."""
        return self.inferences / self.executions if self.executions else 0.0


class ResponseStream(Iterator[InferenceResponse], Protocol):
    """The responses of one streamed request, in order; ends where the model has ended.

    `close` cancels the call, may come from another thread while one waits for the next response
    (which then ends), and does nothing the second time or after the end.
    """

    def close(self) -> None:
        """Cancels what has not arrived."""
        ...


class Transport(Protocol):
    """Carries calls to one server. Several threads may use one transport at once.

    Every call ends within its deadline: with a result, or with an error of `organseg.errors`
    (`ServerUnreachableError`, `ServerBusyError`, `DeadlineExceededError`, …).
    """

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once."""
        ...

    def stream(self, request: InferenceRequest) -> ResponseStream:
        """Runs a decoupled model: any number of responses, each within the request's deadline."""
        ...

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        ...

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        ...

    def server_metadata(self, deadline_s: float) -> ServerMetadata:
        """What the server says of itself."""
        ...

    def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        """What each loaded model has done, by name."""
        ...

    def close(self) -> None:
        """Ends the connection; a second call does nothing."""
        ...


class AsyncResponseStream(Protocol):
    """As `ResponseStream`, for `async for`; `aclose` may come from another task."""

    def __aiter__(self) -> AsyncIterator[InferenceResponse]:
        """Itself."""
        ...

    async def __anext__(self) -> InferenceResponse:
        """The next response; raises `StopAsyncIteration` behind the last."""
        ...

    async def aclose(self) -> None:
        """Cancels what has not arrived."""
        ...


class AsyncTransport(Protocol):
    """As `Transport`, awaited; many tasks of one event loop may use one at once.

    It is made outside a running loop too, and connects on the first call. A call whose task is
    cancelled cancels its request on the wire.
    """

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once."""
        ...

    def stream(self, request: InferenceRequest) -> AsyncResponseStream:
        """Runs a decoupled model: any number of responses, each within the request's deadline."""
        ...

    async def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        ...

    async def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        ...

    async def server_metadata(self, deadline_s: float) -> ServerMetadata:
        """What the server says of itself."""
        ...

    async def statistics(self, deadline_s: float) -> tuple[ModelStatistics, ...]:
        """What each loaded model has done, by name."""
        ...

    async def close(self) -> None:
        """Ends the connection; a second call does nothing."""
        ...
