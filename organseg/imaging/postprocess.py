"""The stage `postprocess`: masks at the original size and orientation, padding cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from organseg.contract.verdicts import PADDING, Verdict
from organseg.imaging.masks import postprocess_mask
from organseg.imaging.orientation import DisplayOrientation


@dataclass(frozen=True)
class Answer:
    """One answered request; K is the number of asked organs, at least 1."""

    masks: npt.NDArray[np.bool_]
    """bool [K, H, W] in the image's own frame; blank unless segmented."""
    organs: npt.NDArray[np.int32]
    """int32 [K], organ ids 1 to 13; 14 is none of them."""
    verdicts: tuple[Verdict, ...]
    """K verdicts."""
    boxes: npt.NDArray[np.float32]
    """float32 [K, 4], x1 y1 x2 y2 in the image's own pixels; zeros unless segmented."""
    quality: npt.NDArray[np.float32]
    """float32 [K], IoU predicted by the mask decoder; zero unless segmented."""


def assemble_answer(
    low_res_masks: npt.NDArray[Any],
    mask_quality: npt.NDArray[np.float32],
    prompt_boxes: npt.NDArray[np.float32],
    organs: npt.NDArray[np.int32],
    verdict_codes: npt.NDArray[np.int32],
    *,
    display_size_hw: tuple[int, int],
    orientation: DisplayOrientation,
) -> Answer:
    """Turns the mask decoder's output into the answer for one image.

    Args:
        low_res_masks: float [K', h, w] mask logits; K' counts the padding too.
        mask_quality: float32 [K'].
        prompt_boxes: float32 [K', 4], fractions of the display image.
        organs: int32 [K'], 0 in the padding.
        verdict_codes: int32 [K'], 0 in the padding.
        display_size_hw: height and width in display orientation, pixels.
        orientation: how to get back to the image's own frame.
    """
    kept = np.flatnonzero(organs != PADDING)
    verdicts = tuple(Verdict.from_code(code) for code in verdict_codes[kept])
    shown = np.array([verdict is Verdict.SEGMENTED for verdict in verdicts])

    height, width = display_size_hw
    masks = np.zeros((len(kept), height, width), dtype=np.bool_)
    for entry in np.flatnonzero(shown):
        masks[entry] = postprocess_mask(low_res_masks[kept[entry]], (height, width))

    in_pixels = prompt_boxes[kept] * np.array([width, height, width, height], dtype=np.float32)
    boxes = orientation.invert_boxes_xyxy(in_pixels * shown[:, None], (height, width))
    return Answer(
        masks=np.ascontiguousarray(orientation.invert(masks)),
        organs=organs[kept].astype(np.int32),
        verdicts=verdicts,
        boxes=boxes.astype(np.float32),
        quality=(mask_quality[kept] * shown).astype(np.float32),
    )
