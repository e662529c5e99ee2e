"""What every model that a client calls checks first: contract version, shapes, one request."""

from __future__ import annotations

from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, Model
from organseg.errors import ContractError, InvalidInputError, SessionLostError
from organseg.serving.stage import StageRequest


def require_contract(request: StageRequest) -> None:
    """Refuses a request that says it was made for another contract version.

    A client need not say; one that does is told here rather than by a wrong answer.
    """
    spoken = request.parameters.get(CONTRACT_PARAMETER)
    if spoken is not None and spoken != CONTRACT_VERSION:
        raise ContractError(
            f"wanted a request of contract version {CONTRACT_VERSION}, got one of "
            f"{str(spoken)[:40]!r}: install the client that belongs to this server"
        )


def require_shapes(model: Model, request: StageRequest) -> None:
    """Raises `InvalidInputError` unless each input that came is of one request, in its bounds."""
    for tensor in model.inputs:
        came = request.inputs.get(tensor.name)
        if came is None:
            continue
        fits = came.shape[:1] == (1,) and len(came.shape) == 1 + len(tensor.axes)
        if not fits or not all(
            axis.min <= size <= axis.max
            for axis, size in zip(tensor.axes, came.shape[1:], strict=True)
        ):
            wanted = [
                axis.max if axis.is_static else f"{axis.min}..{axis.max}" for axis in tensor.axes
            ]
            shape = ", ".join(map(str, (1, *wanted)))
            raise InvalidInputError(
                f"wanted {tensor.name} of shape [{shape}], got {list(came.shape)}: one request is "
                "one image and one question; send several requests, the server batches them"
            )


def session_lost() -> SessionLostError:
    """What is answered where a question comes without an image, and the image is not known."""
    return SessionLostError(
        "wanted the image of a session, it is not known here any more (expired, evicted, or the "
        "server was restarted): send the image again"
    )
