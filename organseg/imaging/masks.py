"""From the mask decoder's logits to masks of the image's size, and from masks to boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["box_of_mask", "flatten_masks", "postprocess_mask"]

_THRESHOLD = 0.5


def postprocess_mask(
    low_res_logits: NDArray[Any], display_size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """The mask of one organ at the size of its display image, bool [H, W].

    `low_res_logits` is float [h, w], the decoder's output over the whole (squeezed) image.
    MedSAM's order: sigmoid, bilinear resize, > 0.5. Enlarging equals PyTorch's
    `interpolate(mode="bilinear", align_corners=False)`. Shrinking (an image smaller than the
    logits) averages all logits that fall on a pixel, where PyTorch would skip most of them.

    Logits that hold a NaN give a blank mask: a graph that overflowed has drawn nothing, and half
    a mask would look like an answer.
    """
    logits = np.asarray(low_res_logits, dtype=np.float32)
    height, width = display_size_hw
    if np.isnan(logits).any():
        return np.zeros((height, width), dtype=np.bool_)
    # The sigmoid as tanh: exp would overflow for logits below -88.
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits))
    image = Image.fromarray(np.ascontiguousarray(probabilities, dtype=np.float32))
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized) > _THRESHOLD


def box_of_mask(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smallest box around a mask [H, W]: (x_min, y_min, x_max, y_max), float32 [4].

    In pixel edges: the box of the single pixel at row 2, column 3 is (3, 2, 4, 3), so width times
    height is the box's area in pixels. An empty mask gives zeros, which is no box.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return np.zeros(4, dtype=np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def flatten_masks(masks: NDArray[np.bool_], ids: Sequence[int]) -> NDArray[np.uint8]:
    """One label map uint8 [H, W] of K masks, bool [K, H, W], with their K ids; 0 is background.

    Where masks overlap the smaller one holds.
    """
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for index in sorted(range(len(ids)), key=lambda entry: -int(masks[entry].sum())):
        labels[masks[index]] = ids[index]
    return labels
