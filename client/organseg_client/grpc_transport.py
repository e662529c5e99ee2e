"""The transport over Triton's gRPC protocol, by `tritonclient`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import organseg
from organseg.errors import InvalidInputError, ServerUnreachableError
from organseg_client.status import error_of_status
from organseg_client.transport import InferenceRequest, InferenceResponse, ModelConfig

__all__ = ["GrpcTransport"]

Result = TypeVar("Result")

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(\d{1,5})")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_LARGEST_MESSAGE_BYTES = 2**31 - 1
# tritonclient sets these limits only where it is given no channel arguments of ours; without
# them gRPC takes 4 MB, and masks of 13 organs are larger.
_CHANNEL_ARGUMENTS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", _LARGEST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    # A connection of its own for each client: closing one and opening another then truly
    # reconnects, instead of getting a connection back that gRPC has kept for the address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"organseg-client/{organseg.__version__}"),
)


class GrpcTransport:
    """A connection to one Triton server; connects on the first call.

    `url` is `HOST:PORT` of Triton's gRPC service. Raises `InvalidInputError` where it is
    something else. Every call raises errors of `organseg.errors` alone.
    """

    def __init__(self, url: str) -> None:
        address = _ADDRESS.fullmatch(url)
        if address is None or not 0 < int(address[2]) < 2**16:
            raise InvalidInputError(
                f"wanted a server address HOST:PORT, got {url!r}; write for example localhost:8001"
            )
        # Only here, so that the package imports fast and works with other transports without it.
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException, np_to_triton_dtype

        self._grpc = grpc
        self._wire_error: type[Exception] = InferenceServerException
        self._type_name: Callable[[Any], str] = np_to_triton_dtype
        channel_arguments = list(_CHANNEL_ARGUMENTS)
        if address[1] in _LOOPBACK:
            # A proxy in the environment is for other machines; gRPC would ask it for this one.
            channel_arguments.append(("grpc.enable_http_proxy", 0))
        self._connection = grpc.InferenceServerClient(url, channel_args=channel_arguments)
        self._is_closed = False

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a model once; the server drops the request from its queues at the deadline."""
        answer = self._call(
            self._connection.infer,
            request.model_name,
            inputs=[self._input(name, array) for name, array in request.inputs.items()],
            outputs=[self._grpc.InferRequestedOutput(name) for name in request.outputs],
            request_id=request.request_id,
            timeout=max(1, round(request.deadline_s * 1e6)),
            client_timeout=request.deadline_s,
            parameters=dict(request.parameters),
        )
        outputs = {
            output.name: np.asarray(answer.as_numpy(output.name))
            for output in answer.get_response().outputs
        }
        return InferenceResponse(outputs=outputs, request_id=answer.get_response().id)

    def model_config(self, model_name: str, deadline_s: float) -> ModelConfig:
        """The configuration of a loaded model."""
        answer = self._call(
            self._connection.get_model_config, model_name, client_timeout=deadline_s
        )
        parameters = {key: str(one.string_value) for key, one in answer.config.parameters.items()}
        return ModelConfig(name=str(answer.config.name), parameters=parameters)

    def is_ready(self, model_name: str, deadline_s: float) -> bool:
        """Whether the server answers and has the model loaded."""
        return bool(
            self._call(self._connection.is_model_ready, model_name, client_timeout=deadline_s)
        )

    def close(self) -> None:
        """Ends the connection; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.close()

    def _input(self, name: str, array: NDArray[Any]) -> Any:
        tensor = self._grpc.InferInput(name, list(array.shape), self._type_name(array.dtype))
        tensor.set_data_from_numpy(array)
        return tensor

    def _call(self, method: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        try:
            return method(*arguments, **options)
        except self._wire_error as error:
            status, message = error.status(), error.message()  # type: ignore[attr-defined]
            raise error_of_status(str(status or ""), str(message or "")) from error
        except ValueError as error:
            # What gRPC raises where another thread has closed the connection.
            if self._is_closed:
                raise ServerUnreachableError(
                    "wanted an open connection, this one was closed; make another client"
                ) from error
            raise
