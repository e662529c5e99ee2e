"""Between the plain values of a transport and the messages of Triton's gRPC protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ContractError
from organseg_client.status import error_of_status
from organseg_client.transport import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    ServerMetadata,
)

__all__ = [
    "Slot",
    "content_of",
    "infer_message",
    "read_config",
    "read_metadata",
    "read_response",
    "read_statistics",
    "read_streamed",
]

_NANOSECONDS_PER_MS = 1e6


@dataclass(frozen=True)
class Slot:
    """A part of a region of shared memory that one tensor has."""

    region: str
    """The name under which the server knows the region."""
    offset: int
    """Where it begins, bytes."""
    size: int
    """How long it is, bytes."""
    memory: memoryview
    """Its bytes, here."""


def infer_message(
    request: InferenceRequest, deadline_s: float, slots: Mapping[str, Slot] | None = None
) -> Any:
    """The `ModelInferRequest`; tensors that have a slot are named there, others go along.

    The server drops the request from its queues at the deadline.
    """
    from tritonclient.grpc import service_pb2 as messages
    from tritonclient.utils import np_to_triton_dtype

    slots = slots or {}
    message = messages.ModelInferRequest(model_name=request.model_name, id=request.request_id)
    for name, array in request.inputs.items():
        entry = message.inputs.add(
            name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape
        )
        if name in slots:
            _point(entry, slots[name])
        else:
            message.raw_input_contents.append(content_of(array))
    for name in request.outputs:
        entry = message.outputs.add(name=name)
        if name in slots:
            _point(entry, slots[name])
    for key, value in request.parameters.items():
        message.parameters[key].string_param = value
    message.parameters["timeout"].int64_param = max(1, round(deadline_s * 1e6))
    return message


def content_of(array: NDArray[Any]) -> bytes:
    """A tensor as Triton takes it: row-major; of text each element behind its length."""
    from tritonclient.utils import serialize_byte_tensor

    if array.dtype.kind not in "OSU":
        return array.tobytes()
    serialised = serialize_byte_tensor(array)
    return bytes(serialised.item()) if serialised.size else b""


def read_response(message: Any, slots: Mapping[str, Slot] | None = None) -> InferenceResponse:
    """The outputs of a `ModelInferResponse`; those that have a slot are copied out of it.

    Raises `ContractError` where an output does not fit its slot.
    """
    from tritonclient.grpc import InferResult
    from tritonclient.utils import triton_to_np_dtype

    slots = slots or {}
    result = InferResult(message)
    outputs = {}
    for index, output in enumerate(message.outputs):
        slot = slots.get(output.name)
        # A server that did not use the slot sent the content along.
        if slot is None or any(message.raw_output_contents[index : index + 1]):
            outputs[output.name] = np.asarray(result.as_numpy(output.name))
        else:
            dtype = np.dtype(triton_to_np_dtype(output.datatype))
            outputs[output.name] = _copy(slot, dtype, tuple(output.shape), output.name)
    return InferenceResponse(outputs=outputs, request_id=str(message.id))


def read_streamed(message: Any) -> InferenceResponse:
    """The outputs of a `ModelStreamInferResponse`; raises the error that it holds instead."""
    if message.error_message:
        # Without a status, whose price (header `triton_grpc_error`) is that the responses in front
        # of the error may get lost.
        raise error_of_status("", message.error_message)
    return read_response(message.infer_response)


def read_config(message: Any) -> ModelConfig:
    """What a `ModelConfigResponse` says."""
    parameters = {key: str(one.string_value) for key, one in message.config.parameters.items()}
    return ModelConfig(name=str(message.config.name), parameters=parameters)


def read_metadata(message: Any) -> ServerMetadata:
    """What a `ServerMetadataResponse` says."""
    return ServerMetadata(
        name=str(message.name),
        version=str(message.version),
        extensions=tuple(map(str, message.extensions)),
    )


def read_statistics(message: Any) -> tuple[ModelStatistics, ...]:
    """What a `ModelStatisticsResponse` says, one entry a model's version, by name."""
    entries = (_statistics_of(model) for model in message.model_stats)
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.version)))


def _statistics_of(model: Any) -> ModelStatistics:
    counted = model.inference_stats
    return ModelStatistics(
        name=str(model.name),
        version=str(model.version),
        successes=int(counted.success.count),
        failures=int(counted.fail.count),
        executions=int(model.execution_count),
        inferences=int(model.inference_count),
        queue_ms=_mean_ms(counted.queue),
        compute_input_ms=_mean_ms(counted.compute_input),
        compute_infer_ms=_mean_ms(counted.compute_infer),
        compute_output_ms=_mean_ms(counted.compute_output),
    )


def _mean_ms(duration: Any) -> float:
    return duration.ns / duration.count / _NANOSECONDS_PER_MS if duration.count else 0.0


def _point(entry: Any, slot: Slot) -> None:
    entry.parameters["shared_memory_region"].string_param = slot.region
    entry.parameters["shared_memory_byte_size"].int64_param = slot.size
    if slot.offset:
        entry.parameters["shared_memory_offset"].int64_param = slot.offset


def _copy(slot: Slot, dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if math.prod(shape) * dtype.itemsize > slot.size:
        raise ContractError(
            f"wanted {name} of at most {slot.size} bytes, got shape {list(shape)}; use a client "
            "and a server of the same release"
        )
    # A copy, since the next request writes to the same memory.
    return np.ndarray(shape, dtype, buffer=slot.memory).copy()
