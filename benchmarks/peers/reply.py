"""The JSON that a peer answers with; the load generator's HTTP target reads it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from organseg.imaging.postprocess import Answer

IMAGE_FIELD = "image"
"""The form's field with the encoded image, a file."""
QUESTION_FIELD = "question"
"""The form's field with the question, text."""
HEALTH_PATH = "/health"
"""Answers 200 once the peer can be asked."""


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


def _png(mask: npt.NDArray[np.bool_]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
