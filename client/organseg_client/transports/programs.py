"""Every call of a transport as a program that yields what is to be sent, and never sends itself.

Both transports run the same programs, one by blocking calls, the other on an event loop. A
transport answers `Send` with the message that came, or throws the `OrganSegError` that the call
ended in; it answers `Pause` with nothing. A program that its caller no longer waits for is closed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from organseg_client.transport import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    ServerMetadata,
)
from organseg_client.transports import messages

__all__ = [
    "Pause",
    "Program",
    "Send",
    "infer",
    "is_ready",
    "model_config",
    "server_metadata",
    "statistics",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Calls a method of Triton's gRPC service."""

    method: str
    """Its name."""
    message: Any = field(repr=False)
    """What it is sent."""
    deadline_s: float
    """Seconds until the answer must be there."""
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Headers of this call alone."""


@dataclass(frozen=True)
class Pause:
    """Waits."""

    seconds: float
    """How long."""


Program: TypeAlias = Generator[Send | Pause, Any, T]
"""A call under way: yields `Send` and `Pause`, returns its result."""


def infer(request: InferenceRequest, deadline_s: float) -> Program[InferenceResponse]:
    """Runs a model once, with every tensor in the messages."""
    message = messages.infer_message(request, deadline_s)
    headers = tuple(request.metadata.items())
    return messages.read_response((yield Send("ModelInfer", message, deadline_s, headers)))


def model_config(model_name: str, deadline_s: float) -> Program[ModelConfig]:
    """The configuration of a loaded model."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelConfigRequest(name=model_name)
    return messages.read_config((yield Send("ModelConfig", message, deadline_s)))


def is_ready(model_name: str, deadline_s: float) -> Program[bool]:
    """Whether the server answers and has the model loaded."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelReadyRequest(name=model_name)
    return bool((yield Send("ModelReady", message, deadline_s)).ready)


def server_metadata(deadline_s: float) -> Program[ServerMetadata]:
    """What the server says of itself."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ServerMetadataRequest()
    return messages.read_metadata((yield Send("ServerMetadata", message, deadline_s)))


def statistics(deadline_s: float) -> Program[tuple[ModelStatistics, ...]]:
    """What each loaded model has done, by name."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelStatisticsRequest()
    return messages.read_statistics((yield Send("ModelStatistics", message, deadline_s)))
