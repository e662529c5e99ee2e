"""From a server's response to the result, held against the contract first."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.contract import DataType, Tensor, Verdict, summarise
from organseg.errors import ContractError
from organseg.organs import organ_by_id
from organseg_client import tensors
from organseg_client.images import SentImage
from organseg_client.result import OrganAnswer, SegmentationResult, Timings
from organseg_client.transport import InferenceResponse

__all__ = ["read_kept", "read_response"]

_REMEDY = "use a client and a server of the same release"
_HANDLE = re.compile(rb"[!-~]{1,512}")


def read_response(
    response: InferenceResponse, image: SentImage, *, request_id: str, server: str, timings: Timings
) -> SegmentationResult:
    """The result that a response holds.

    Raises `ContractError` where a tensor is missing, has another type or shape than the
    contract says, or holds a verdict or an organ that does not exist.
    """
    arrays: dict[str, NDArray[Any]] = {}
    sizes: dict[str, int] = {}
    for tensor in tensors.RECEIVED:
        if tensor.name not in response.outputs:
            raise ContractError(f"wanted {tensor.name} in the response, got none; {_REMEDY}")
        batch = np.asarray(response.outputs[tensor.name])
        _check(tensor, batch, sizes)
        arrays[tensor.name] = batch[0]
    organs = tuple(
        _organ(int(organ_id), word)
        for organ_id, word in zip(
            arrays[tensors.ORGAN_IDS.name], arrays[tensors.VERDICTS.name], strict=True
        )
    )
    return SegmentationResult(
        verdict=summarise(organ.verdict for organ in organs),
        organs=organs,
        masks=arrays[tensors.MASKS.name],
        boxes=arrays[tensors.BOXES.name],
        quality=arrays[tensors.QUALITY.name],
        similarity=arrays[tensors.SIMILARITY.name],
        presence=arrays[tensors.PRESENCE.name],
        request_id=request_id,
        server=server,
        timings=timings,
        image=image,
    )


def read_kept(response: InferenceResponse) -> tuple[bytes, float]:
    """The handle of an image that a server keeps, and for how many seconds it does.

    Raises `ContractError` where either is missing or cannot be one.
    """
    try:
        handle, lifetime_s = (response.outputs[tensor.name].item() for tensor in tensors.KEPT)
        # It goes out again as a header, which holds no more than this.
        if not _HANDLE.fullmatch(handle) or not 0 < lifetime_s < math.inf:
            raise ValueError
    except (KeyError, ValueError, TypeError):
        # Without what came: whoever has a handle can ask about the image.
        wanted = " and ".join(tensor.name for tensor in tensors.KEPT)
        raise ContractError(
            f"wanted {wanted} of the contract for an image, got others; {_REMEDY}"
        ) from None
    return handle, float(lifetime_s)


def _check(tensor: Tensor, batch: NDArray[Any], sizes: dict[str, int]) -> None:
    """Holds one array, batch of 1 in front, against its tensor and the others' dynamic axes."""
    # Text arrives as objects; numpy keeps fixed-width bytes where a transport made them so.
    is_text = tensor.dtype is DataType.BYTES and batch.dtype.kind in "OSU"
    if batch.dtype != tensor.dtype.numpy and not is_text:
        raise ContractError(
            f"wanted {tensor.name} as {tensor.dtype.value}, got {batch.dtype}; {_REMEDY}"
        )
    fits = batch.ndim == len(tensor.axes) + 1 and batch.shape[0] == 1
    for axis, size in zip(tensor.axes, batch.shape[1:], strict=False):
        known = size if axis.is_static else sizes.setdefault(axis.name, size)
        fits = fits and axis.min <= size <= axis.max and size == known
    if not fits:
        wanted = [1, *(axis.max if axis.is_static else axis.name for axis in tensor.axes)]
        raise ContractError(
            f"wanted {tensor.name} of shape {wanted}, got {list(batch.shape)}; {_REMEDY}"
        )


def _organ(organ_id: int, word: bytes | str) -> OrganAnswer:
    try:
        organ = organ_by_id(organ_id)
        verdict = Verdict(word.decode() if isinstance(word, bytes) else word)
    except (KeyError, ValueError) as error:
        raise ContractError(
            f"wanted an organ id and a verdict of the contract, got {organ_id} and {word!r}; "
            f"{_REMEDY}"
        ) from error
    return OrganAnswer(id=organ.id, letter=organ.letter, name=organ.name, verdict=verdict)
