"""The name that a prepared image is known by: equal only where all that is computed of it is."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from organseg.contract import CONTRACT_VERSION


def image_key(
    sam_pixels: npt.NDArray[np.uint8],
    vlm_pixels: npt.NDArray[np.uint8],
    window: tuple[float, float] | None,
) -> npt.NDArray[np.uint8]:
    """uint8 [32]: SHA-256 over the pixels that the models are given, and how they came about.

    Pixels alone would do today, since nothing else enters a model. Their sizes, the window and the
    contract version are covered too, so that a stage may one day depend on them and no two
    requests that were prepared differently ever share what is kept.

    Args:
        sam_pixels: uint8 [S, S], the segmenter's input.
        vlm_pixels: uint8 [V, V], the vision-language model's input.
        window: (low, high) of the intensities as the request said it, or None.
    """
    knobs = (CONTRACT_VERSION, sam_pixels.shape, vlm_pixels.shape, window)
    digest = hashlib.sha256(repr(knobs).encode())
    for pixels in (sam_pixels, vlm_pixels):
        digest.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(digest.digest(), dtype=np.uint8)
