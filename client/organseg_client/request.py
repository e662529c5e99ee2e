"""From an image and a question to the request that the server takes, checked before it is sent."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.contract import (
    ASK_NAME,
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    ENCODE_NAME,
    ENSEMBLE_NAME,
    EXPLAIN_NAME,
    Tensor,
)
from organseg.errors import InvalidInputError, QuestionError
from organseg.imaging.decoding import stored_size_hw
from organseg.questions import read_question
from organseg_client.images import SentImage
from organseg_client.result import SegmentationResult
from organseg_client.tensors import (
    BOXES,
    EXPLAINED,
    HANDLE,
    IMAGE,
    KEPT,
    MASKS,
    MAX_TOKENS,
    ORGAN_IDS,
    QUERY,
    RECEIVED,
    VERDICTS,
    WINDOW,
)
from organseg_client.transport import InferenceRequest

__all__ = [
    "ROUTE_HEADER",
    "SESSION_HEADER",
    "build_ask_request",
    "build_encode_request",
    "build_explanation_request",
    "build_request",
    "encode_question",
    "new_request_id",
]

SESSION_HEADER = "organ-seg-session"
"""The header that holds the handle, in each question about an open image."""

ROUTE_HEADER = "organ-seg-route"
"""The header that holds a word of the client's own, the same in all calls about an open image, the
encoding included: a proxy that hashes it sends them to one server. A handle cannot do that, since
there is none before the image was encoded."""

_LONGEST_REQUEST_ID = 128

_PARAMETERS: Mapping[str, str] = {CONTRACT_PARAMETER: CONTRACT_VERSION}


def build_request(
    image: SentImage, question: bytes, deadline_s: float, request_id: str
) -> InferenceRequest:
    """The request of one image and one question to the ensemble, batch of 1."""
    return InferenceRequest(
        model_name=ENSEMBLE_NAME,
        inputs=_image_and_question(image, question),
        # Always all of them: servers that cache responses key them by input alone.
        outputs=tuple(tensor.name for tensor in RECEIVED),
        parameters=_PARAMETERS,
        request_id=request_id,
        deadline_s=deadline_s,
        output_bytes=_largest_masks(image),
    )


def build_encode_request(
    image: SentImage, route: str, deadline_s: float, request_id: str
) -> InferenceRequest:
    """The request to encode an image and to keep it."""
    return InferenceRequest(
        model_name=ENCODE_NAME,
        inputs=_image(image),
        outputs=tuple(tensor.name for tensor in KEPT),
        parameters=_PARAMETERS,
        request_id=request_id,
        deadline_s=deadline_s,
        metadata={ROUTE_HEADER: route},
    )


def build_ask_request(
    handle: bytes,
    image: SentImage,
    question: bytes,
    route: str,
    deadline_s: float,
    request_id: str,
) -> InferenceRequest:
    """The request of one question about an image that the server keeps; `image` is not sent."""
    return InferenceRequest(
        model_name=ASK_NAME,
        inputs={HANDLE.name: _text(handle), QUERY.name: _text(question)},
        outputs=tuple(tensor.name for tensor in RECEIVED),
        parameters=_PARAMETERS,
        request_id=request_id,
        deadline_s=deadline_s,
        output_bytes=_largest_masks(image),
        metadata={ROUTE_HEADER: route, SESSION_HEADER: handle.decode("ascii")},
    )


def build_explanation_request(
    result: SegmentationResult,
    question: bytes,
    max_tokens: int | None,
    deadline_s: float,
    request_id: str,
) -> InferenceRequest:
    """The request for an answer in words: what the ensemble was sent, and what it answered."""
    inputs = _image_and_question(result.image, question)
    verdicts = [organ.verdict.value.encode() for organ in result.organs]
    answered: list[tuple[Tensor, Any]] = [
        (ORGAN_IDS, [organ.id for organ in result.organs]),
        (VERDICTS, verdicts),
        (BOXES, result.boxes),
    ]
    if max_tokens is not None:
        answered.append((MAX_TOKENS, [max_tokens]))
    for tensor, values in answered:
        inputs[tensor.name] = np.array([values], dtype=tensor.dtype.numpy)
    return InferenceRequest(
        model_name=EXPLAIN_NAME,
        inputs=inputs,
        outputs=tuple(tensor.name for tensor in EXPLAINED),
        parameters=_PARAMETERS,
        request_id=request_id,
        deadline_s=deadline_s,
    )


def encode_question(question: str | bytes) -> bytes:
    """The question as UTF-8.

    Raises `QuestionError` where it is empty, too long, or not UTF-8: by the server's own rule.
    """
    if isinstance(question, str):
        try:
            encoded = question.encode()
        except UnicodeEncodeError as error:
            raise QuestionError(
                "wanted a question of Unicode text, came one with a lone surrogate "
                f"at character {error.start + 1}; decode the text with the right encoding"
            ) from None
    elif isinstance(question, (bytes, bytearray)):
        encoded = bytes(question)
    else:
        raise QuestionError(
            f"wanted a question as text, came {type(question).__name__}; give a string"
        )
    read_question(encoded)
    return encoded


def new_request_id(request_id: str | None) -> str:
    """The caller's request id, checked, or a new random one.

    Raises `InvalidInputError` for one that is empty, too long, or does not print: it goes into
    the server's log.
    """
    if request_id is None:
        return uuid.uuid4().hex
    if (
        not isinstance(request_id, str)
        or not request_id.isprintable()
        or not 0 < len(request_id) <= _LONGEST_REQUEST_ID
    ):
        raise InvalidInputError(
            f"wanted a request id of 1 to {_LONGEST_REQUEST_ID} printable characters, came "
            "another; shorten it, or leave it out for a random one"
        )
    return request_id


def _image_and_question(image: SentImage, question: bytes) -> dict[str, NDArray[Any]]:
    return {**_image(image), QUERY.name: _text(question)}


def _image(image: SentImage) -> dict[str, NDArray[Any]]:
    inputs: dict[str, NDArray[Any]] = {IMAGE.name: _text(image.content)}
    if image.window is not None:
        inputs[WINDOW.name] = np.array([image.window], dtype=WINDOW.dtype.numpy)
    return inputs


def _largest_masks(image: SentImage) -> Mapping[str, int]:
    """The bytes of a mask for every organ; nothing where the image's header does not say its size.

    Masks have the size of the stored image.
    """
    size_hw = stored_size_hw(image.content)
    if size_hw is None:
        return {}
    most = MASKS.axes[0].max
    return {MASKS.name: most * math.prod(size_hw) * MASKS.dtype.numpy.itemsize}


def _text(content: bytes) -> NDArray[Any]:
    """One BYTES element with its batch axis, object [1, 1]."""
    array = np.empty((1, 1), dtype=np.object_)
    array[0, 0] = content
    return array
