"""The smallest real question: one small picture through the whole ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from organseg.errors import (
    DeadlineExceededError,
    ServerBusyError,
    ServerFaultError,
    ServerUnreachableError,
)

DIRECT_CHANNEL = [("grpc.enable_http_proxy", 0)]
"""A proxy in the environment is for other machines; gRPC would ask it for this one too."""


@dataclass(frozen=True)
class EnsembleProbe:
    """Asks the ensemble `organ_seg` about a small grey ramp; call it with a gRPC address."""

    timeout_s: float = 120.0
    """How long the answer may take, seconds."""

    def __call__(self, grpc_address: str) -> None:
        """Returns once the ensemble has answered with all its outputs, none of them empty.

        Raises `ServerBusyError`, `ServerUnreachableError`, `DeadlineExceededError` or
        `ServerFaultError` with the server's words.
        """
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException

        from organseg.contract import (
            CONTRACT_PARAMETER,
            CONTRACT_VERSION,
            ENSEMBLE_NAME,
            TINY,
            ensemble_tensors,
        )

        # The names are every preset's; only inner sizes differ.
        _, outputs = ensemble_tensors(TINY)
        client: Any = grpc.InferenceServerClient(grpc_address, channel_args=DIRECT_CHANNEL)
        try:
            result = client.infer(
                ENSEMBLE_NAME,
                _inputs(),
                outputs=[grpc.InferRequestedOutput(output.name) for output in outputs],
                parameters={CONTRACT_PARAMETER: CONTRACT_VERSION},
                client_timeout=self.timeout_s,
            )
        except InferenceServerException as error:
            raise _translate(error, self.timeout_s) from None
        finally:
            client.close()
        for output in outputs:
            values = result.as_numpy(output.name)
            if values is None or values.size == 0:
                raise ServerFaultError(
                    f"wanted values in the output {output.name}, got none: look for the cause in "
                    "the server's log; numpy 2 in its environment is a known one"
                )


def _inputs() -> list[Any]:
    import numpy as np
    from tritonclient import grpc

    from organseg.contract import SAMPLE_QUESTION, names
    from organseg.imaging.encoding import encode_sample

    values = {names.IMAGE: encode_sample(), names.QUERY: SAMPLE_QUESTION.encode()}
    inputs = []
    for name, value in values.items():
        tensor: Any = grpc.InferInput(name, [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[value]], dtype=np.object_))
        inputs.append(tensor)
    return inputs


def _translate(error: Any, timeout_s: float) -> Exception:
    status, message = str(error.status()), str(error.message())
    if "DEADLINE_EXCEEDED" in status:
        return DeadlineExceededError(
            f"wanted a first answer within {timeout_s:g} s, got none: give the machine more cores, "
            "or serve a smaller preset"
        )
    if "UNAVAILABLE" in status:
        if "connect" in message.lower() or "socket" in message.lower():
            return ServerUnreachableError(f"no connection to the server ({message})")
        return ServerBusyError(f"the server turned the question away ({message}): ask again")
    return ServerFaultError(message)
