"""The JSON that a peer answers with, written and read: what crosses HTTP in this comparison."""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from organseg.errors import ServerFaultError
from organseg.imaging.postprocess import Answer

PATH = "/segment"
"""Where a peer is asked: POST, multipart/form-data."""
IMAGE_FIELD = "image"
"""The form's field with the encoded image, a file."""
QUESTION_FIELD = "question"
"""The form's field with the question, text."""
HEALTH_PATH = "/health"
"""Answers 200 once the peer can be asked."""


@dataclass(frozen=True)
class Reply:
    """A peer's answer as its user has it; K is the number of asked organs."""

    verdicts: tuple[str, ...]
    """K verdicts."""
    organs: tuple[int, ...]
    """K organ ids, 14 for none."""
    boxes: npt.NDArray[np.float32]
    """float32 [K, 4], x1 y1 x2 y2 in the image's pixels."""
    quality: npt.NDArray[np.float32]
    """float32 [K]."""
    masks: npt.NDArray[np.bool_]
    """bool [K, H, W]."""


def write_reply(answer: Answer) -> bytes:
    """An answer as JSON; masks are PNGs of one bit a pixel, lightly compressed, in base64."""
    return json.dumps(
        {
            "verdicts": [verdict.value for verdict in answer.verdicts],
            "organs": answer.organs.tolist(),
            "boxes": answer.boxes.tolist(),
            "quality": answer.quality.tolist(),
            "masks": [base64.b64encode(_png(mask)).decode("ascii") for mask in answer.masks],
        }
    ).encode()


def read_reply(body: bytes) -> Reply:
    """The answer of a reply, masks decoded; raises `ServerFaultError` where it is none."""
    try:
        plain = json.loads(body)
        return Reply(
            verdicts=tuple(plain["verdicts"]),
            organs=tuple(plain["organs"]),
            boxes=np.asarray(plain["boxes"], dtype=np.float32).reshape(-1, 4),
            quality=np.asarray(plain["quality"], dtype=np.float32),
            masks=np.stack([_mask(text) for text in plain["masks"]]),
        )
    except (ValueError, KeyError, TypeError, OSError, binascii.Error) as error:
        raise ServerFaultError(
            f"wanted a peer's answer as JSON, could not read it ({type(error).__name__}): look at "
            "the peer's log"
        ) from None


def _png(mask: npt.NDArray[np.bool_]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _mask(text: str) -> npt.NDArray[np.bool_]:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture, dtype=np.bool_)
