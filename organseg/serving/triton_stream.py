"""Puts a model that answers in pieces behind Triton's Python backend: decoupled, in a stream.

The counterpart of `triton_model` for models beside the flow. Requests are worked on one after
another; each has its own sender, and is over when its last response is marked as final.
"""

from __future__ import annotations

from typing import Any

from organseg.serving.stage import StageRequest, StreamStage
from organseg.serving.triton_model import (
    begin_process,
    error_response,
    output_tensors,
    read_request,
)


def triton_stream(stage_class: type[StreamStage]) -> type[Any]:
    """The class `TritonPythonModel` that Triton looks for, around one model that streams."""

    class TritonPythonModel:
        """Triton's entry point to the model."""

        def initialize(self, args: dict[str, str]) -> None:
            """Prepares the model from its version folder."""
            self.stage = stage_class(begin_process(args))

        def execute(self, requests: list[Any]) -> None:
            """Answers one request after another; one that fails does so alone."""
            for request in requests:
                _answer(self.stage, request)

    return TritonPythonModel


def _answer(stage: StreamStage, request: Any) -> None:
    import triton_python_backend_utils as pb_utils

    sender = request.get_response_sender()
    try:
        read = read_request(stage, request)
        if not isinstance(read, StageRequest):
            raise read
        for piece in stage.stream(read, sender.is_cancelled):
            sender.send(pb_utils.InferenceResponse(output_tensors=output_tensors(stage, piece)))
        last = [] if not sender.is_cancelled() else [_cancelled()]
    except Exception as error:
        last = [error_response(stage, error)]
    sender.send(*last, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _cancelled() -> Any:
    import triton_python_backend_utils as pb_utils

    error = pb_utils.TritonError("the client stopped the stream", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)
