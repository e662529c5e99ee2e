"""The stage `preprocess`: checks image and question, decodes, windows, orients and resizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.contract.presets import Preset
from organseg.imaging.decoding import decode_image
from organseg.imaging.image_key import image_key
from organseg.imaging.resizing import model_pixels
from organseg.questions import read_question


@dataclass(frozen=True)
class PreparedRequest:
    """One request, ready for both branches of the flow; the fields are the stage's outputs."""

    sam_pixels: npt.NDArray[np.uint8]
    """uint8 [S, S], the segmenter's input."""
    vlm_pixels: npt.NDArray[np.uint8]
    """uint8 [V, V], the vision-language model's input."""
    question: str
    """The question in normal form."""
    image_size_hw: npt.NDArray[np.int32]
    """int32 [2], height and width in display orientation."""
    image_orientation: npt.NDArray[np.uint8]
    """uint8 [3], how the stored frame was brought to display orientation."""
    image_is_blank: npt.NDArray[np.bool_]
    """bool [1], whether all pixels are equal."""
    image_key: npt.NDArray[np.uint8]
    """uint8 [32], the same for what every stage behind would compute the same of."""


def prepare(
    image: bytes, query: bytes | None, window: tuple[float, float] | None, preset: Preset
) -> PreparedRequest:
    """Makes one request ready.

    The question is checked first, since that costs nothing.

    Args:
        image: the encoded image.
        query: the question, UTF-8; None where the image alone is to be made ready, with an empty
            question.
        window: (low, high) of the intensities, or None for the image's own rule.
        preset: the sizes of the models.

    Raises:
        QuestionError, ImageError, WindowError: the request cannot be used; the message says
            what was wanted, what came, and what to do.
    """
    question = "" if query is None else read_question(query)
    decoded = decode_image(image, window)
    sam_pixels = model_pixels(decoded.pixels, preset.segmenter.image_size)
    vlm_pixels = model_pixels(decoded.pixels, preset.vision_language.image_size)
    return PreparedRequest(
        sam_pixels=sam_pixels,
        vlm_pixels=vlm_pixels,
        question=question,
        image_size_hw=np.array(decoded.pixels.shape, dtype=np.int32),
        image_orientation=decoded.orientation.as_array(),
        image_is_blank=np.array([decoded.is_blank]),
        image_key=image_key(sam_pixels, vlm_pixels, window),
    )
