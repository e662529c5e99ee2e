"""Puts a stage that answers later behind Triton's Python backend, with the way to other models.

The counterpart of `triton_model` for stages that wait for others: `execute` takes requests and
returns at once, each request is answered through its own sender, from whatever thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from organseg.contract import model_of
from organseg.serving.carried_failures import CarriedFailure
from organseg.serving.stage import Arrays, LaterStage, StageContext, StageRequest
from organseg.serving.triton_metrics import KeptMetrics
from organseg.serving.triton_model import (
    begin_process,
    error_text,
    log_fault,
    read_request,
    response_of,
)


def triton_later(
    stage_class: Callable[[StageContext, Callable[[str, Arrays, int], dict[str, Any]]], LaterStage],
) -> type[Any]:
    """The class `TritonPythonModel` that Triton looks for, around one stage that answers later."""

    class TritonPythonModel:
        """Triton's entry point to the stage."""

        def initialize(self, args: dict[str, str]) -> None:
            """Prepares the stage."""
            context = begin_process(args)
            self.stage = stage_class(context, partial(_ask_model, context))
            self.metrics = KeptMetrics(self.stage)

        def execute(self, requests: list[Any]) -> None:
            """Takes requests; one that cannot be taken is answered with its error."""
            for request in requests:
                _begin(self.stage, self.metrics, request)

        def finalize(self) -> None:
            """Ends the stage."""
            self.stage.close()

    return TritonPythonModel


def _begin(stage: LaterStage, metrics: KeptMetrics, request: Any) -> None:
    sender = request.get_response_sender()

    def respond(answer: Arrays | Exception) -> None:
        _send(stage, sender, answer)
        # Behind the answer, which need not wait for it.
        metrics.publish()

    try:
        read = read_request(stage, request)
        if not isinstance(read, StageRequest):
            raise read
        stage.begin(read, respond)
    except Exception as error:
        respond(error)


def _send(stage: LaterStage, sender: Any, answer: Arrays | Exception) -> None:
    """Sends one request's answer; raises nothing, since nobody behind it could mend that."""
    import triton_python_backend_utils as pb_utils

    final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    try:
        sender.send(response_of(stage, answer), flags=final)
    except Exception as failure:
        log_fault(stage, failure)
        # Where shared memory has no room for the tensors, it has some for a word.
        error = pb_utils.TritonError(error_text(failure), pb_utils.TritonError.INTERNAL)
        with suppress(Exception):
            sender.send(pb_utils.InferenceResponse(error=error), flags=final)


def _ask_model(
    context: StageContext, name: str, inputs: Arrays, timeout_microseconds: int
) -> dict[str, Any]:
    """The outputs of another model: numpy arrays, or torch tensors that stayed on the GPU."""
    import triton_python_backend_utils as pb_utils

    outputs = [tensor.name for tensor in model_of(context.preset, name).outputs]
    device, _, index = context.device.partition(":")
    memory = pb_utils.TRITONSERVER_MEMORY_CPU
    if device == "cuda":
        memory = pb_utils.TRITONSERVER_MEMORY_GPU
    response = pb_utils.InferenceRequest(
        model_name=name,
        inputs=[pb_utils.Tensor(key, np.ascontiguousarray(value)) for key, value in inputs.items()],
        requested_output_names=outputs,
        timeout=timeout_microseconds,
        preferred_memory=pb_utils.PreferredMemory(memory, int(index or 0)),
    ).exec()
    if response.has_error():
        error = response.error()
        words = error.message()
        # It is passed on as it came. But on this way Triton calls every failure internal, and who
        # is turned away from a queue may ask again.
        code = "UNAVAILABLE" if "timeout expired" in words else error.code().name
        raise CarriedFailure(code, words)
    return {
        output: _own_copy(pb_utils.get_output_tensor_by_name(response, output))
        for output in outputs
    }


def _own_copy(tensor: Any) -> Any:
    """A tensor's values in this process's own memory; what Triton handed over is given back."""
    if tensor.is_cpu():
        return np.array(tensor.as_numpy())
    # torch is here only where there is a GPU to keep things on.
    import torch

    copy = torch.utils.dlpack.from_dlpack(tensor.to_dlpack()).clone()
    # Another process will read it, on a stream of its own.
    torch.cuda.synchronize(copy.device)
    return copy
