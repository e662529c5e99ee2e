"""What carries a request to a server and its response back, as a protocol of four calls.

`OrganSegClient(transport=...)` takes anything that has them, so that code that uses the client
is tested without a server. Everything here is plain values: no gRPC type goes in or out, and a
transport raises errors of `organseg.errors` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["InferenceRequest", "InferenceResponse", "ModelConfig", "Transport"]


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


class Transport(Protocol):
    """Carries calls to one server. Several threads may use one transport at once.

    Every call ends within its deadline: with a result, or with an error of `organseg.errors`
    (`ServerUnreachableError`, `ServerBusyError`, `DeadlineExceededError`, …).
    """

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once."""
        ...

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        ...

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        ...

    def close(self) -> None:
        """Ends the connection; a second call does nothing."""
        ...
