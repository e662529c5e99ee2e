"""Puts a stage behind Triton's Python backend: one request, one response.

`model_repository/<stage>/1/model.py` holds nothing but a call of `triton_model`. Triton's own
module `triton_python_backend_utils` exists only inside its process, so it is imported there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    kept_bytes_in,
    language_model_in,
    loading_in,
    preset_by_name,
    session_limits_in,
)
from organseg.contract.cores import cores_in
from organseg.errors import (
    ContractError,
    InvalidInputError,
    NotServedError,
    OrganSegError,
    ServerBusyError,
    SessionLostError,
)
from organseg.serving.bounds import kept_bytes, session_limits
from organseg.serving.carried_failures import (
    CarriedFailure,
    failure_tensor,
    in_place_of_an_answer,
    without_failure,
)
from organseg.serving.engine_choice import engines_for
from organseg.serving.stage import Arrays, ServedModel, Stage, StageContext, StageRequest
from organseg.serving.threads import engine_threads, keep_to_cores
from organseg.serving.triton_metrics import KeptMetrics


def triton_model(stage_class: type[Stage]) -> type[Any]:
    """The class `TritonPythonModel` that Triton looks for, around one stage."""

    class TritonPythonModel:
        """Triton's entry point to the stage."""

        def initialize(self, args: dict[str, str]) -> None:
            """Loads the stage from its version folder."""
            self.stage = stage_class(begin_process(args))
            self.metrics = KeptMetrics(self.stage)

        def execute(self, requests: list[Any]) -> list[Any]:
            """Answers the requests that Triton joined, each with its own response."""
            read = [read_request(self.stage, request) for request in requests]
            good = [request for request in read if isinstance(request, StageRequest)]
            answers = iter(self.stage.run(good) if good else [])
            self.metrics.publish()
            return [
                response_of(
                    self.stage,
                    next(answers) if isinstance(request, StageRequest) else request,
                )
                for request in read
            ]

    return TritonPythonModel


def begin_process(args: dict[str, str]) -> StageContext:
    """What Triton says of an instance, whose process keeps to its cores from here on."""
    context = read_context(args)
    keep_to_cores(context.cores)
    return context


def error_text(error: Exception) -> str:
    """What a client reads of a failure: the class, and our own message where it is ours.

    The message of a foreign exception may hold paths or values, so only its class leaves the
    process.
    """
    if isinstance(error, OrganSegError):
        return f"{type(error).__name__}: {error}"
    return (
        f"ServerFaultError: a stage failed with {type(error).__name__}; the server's log says "
        "where: report it to whoever runs the server"
    )


def read_context(args: dict[str, str]) -> StageContext:
    """What Triton says of an instance; raises `ContractError` for another contract's config."""
    config = json.loads(args["model_config"])
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    policy = config.get("dynamic_batching", {}).get("default_queue_policy", {})
    if parameters.get(CONTRACT_PARAMETER) != CONTRACT_VERSION:
        raise ContractError(
            f"wanted a config of contract version {CONTRACT_VERSION} (the installed organseg), "
            f"got {parameters.get(CONTRACT_PARAMETER)}: export the release again, or install "
            "the version of organseg that made it"
        )
    on_gpu = args["model_instance_kind"] == "GPU"
    return StageContext(
        preset=preset_by_name(parameters["preset"]),
        folder=Path(args["model_repository"]) / args["model_version"],
        threads=engine_threads(parameters),
        engines=engines_for(args["model_name"], parameters),
        device=f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu",
        language_model=language_model_in(parameters),
        loading=loading_in(parameters),
        cores=cores_in(parameters),
        kept_bytes=kept_bytes(args["model_name"], kept_bytes_in(parameters)),
        queue_timeout_microseconds=int(policy.get("default_timeout_microseconds", 0)),
        sessions=session_limits(session_limits_in(parameters)),
    )


def read_request(stage: ServedModel, request: Any) -> StageRequest | Exception:
    """A request's arrays and parameters, or what was wrong with them."""
    import triton_python_backend_utils as pb_utils

    try:
        inputs: Arrays = {}
        for tensor in stage.model.inputs:
            found = pb_utils.get_input_tensor_by_name(request, tensor.name)
            if found is not None:
                inputs[tensor.name] = found.as_numpy()
        parameters = json.loads(request.parameters() or "{}")
        return StageRequest(inputs, parameters, timeout_microseconds=request.timeout())
    except Exception as error:
        return error


def response_of(stage: ServedModel, answer: Arrays | Exception) -> Any:
    """One request's response; whatever goes wrong in making it is that request's error alone."""
    import triton_python_backend_utils as pb_utils

    if not isinstance(answer, Exception):
        try:
            whole = without_failure(stage.model, answer)
            return pb_utils.InferenceResponse(output_tensors=output_tensors(stage, whole))
        except Exception as failure:
            answer = failure
    return error_response(stage, answer)


def error_response(stage: ServedModel, error: Exception) -> Any:
    """The response that tells one request's client of its failure; ours are told to the log.

    Of a stage that works beside another it is an answer, by which the stage behind both fails.
    """
    import triton_python_backend_utils as pb_utils

    code, words = _told(stage, error)
    if failure_tensor(stage.model):
        answer = in_place_of_an_answer(stage.model, code, words)
        return pb_utils.InferenceResponse(output_tensors=output_tensors(stage, answer))
    triton_code = getattr(pb_utils.TritonError, code)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(words, triton_code))


def _told(stage: ServedModel, error: Exception) -> tuple[str, str]:
    """Triton's name of an error's code, and what the client reads."""
    if isinstance(error, CarriedFailure):
        return error.code, error.words
    if isinstance(error, InvalidInputError | ContractError):
        return "INVALID_ARG", error_text(error)
    if isinstance(error, SessionLostError):
        return "NOT_FOUND", error_text(error)
    if isinstance(error, NotServedError):
        return "UNSUPPORTED", error_text(error)
    if isinstance(error, ServerBusyError):
        return "UNAVAILABLE", error_text(error)
    log_fault(stage, error)
    return "INTERNAL", error_text(error)


def log_fault(stage: ServedModel, error: Exception) -> None:
    """Tells the server's log where a stage failed: no values, no texts."""
    import triton_python_backend_utils as pb_utils

    pb_utils.Logger.log_error(f"{stage.name}: {_where(error)}")


def output_tensors(stage: ServedModel, answer: Arrays) -> list[Any]:
    """One answer's arrays as Triton's tensors, in the contract's types.

    An output that an answer has not is left out: a stage with two ways in gives one way's alone.
    Where it was wanted, Triton says so.
    """
    import triton_python_backend_utils as pb_utils

    tensors = []
    for tensor in stage.model.outputs:
        if tensor.name not in answer:
            continue
        value: Any = answer[tensor.name]
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value, dtype=tensor.dtype.numpy)
            tensors.append(pb_utils.Tensor(tensor.name, array))
        else:
            # On a GPU: it is handed over there.
            tensors.append(pb_utils.Tensor.from_dlpack(tensor.name, value))
    return tensors


def _where(error: Exception) -> str:
    """The class of an error and the code line it came from: no values, no texts."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "unknown place"
    if trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return f"{type(error).__name__} at {place}"
