"""Overlap of masks and of boxes, with what an empty mask is worth said in each name.

Present-only scores are `None` where the truth is empty, so that an average over them speaks of
queries whose organ is in the image. Empty-aware scores are defined everywhere: 1 where both
masks are empty, 0 where exactly one is, so that a false positive on an absent organ costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.errors import ImageError

__all__ = [
    "MaskCounts",
    "box_iou",
    "count_pixels",
    "dice_empty_aware",
    "dice_present_only",
    "iou_empty_aware",
]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskCounts:
    """The four pixel counts from which every overlap score follows; masks can be dropped."""

    intersection: int
    """Pixels in both masks."""
    union: int
    """Pixels in either mask."""
    truth: int
    """Pixels of the true mask."""
    predicted: int
    """Pixels of the predicted mask."""

    @property
    def dice(self) -> float:
        """Empty-aware Dice of these counts, 0 to 1."""
        if self.union == 0:
            return 1.0
        return 2.0 * self.intersection / (self.truth + self.predicted)

    @property
    def iou(self) -> float:
        """Empty-aware intersection over union of these counts, 0 to 1."""
        return 1.0 if self.union == 0 else self.intersection / self.union


def count_pixels(truth: Mask, predicted: Mask) -> MaskCounts:
    """Counts of two boolean masks of one shape (any rank).

    Raises `ImageError` where the shapes differ or a mask is not boolean.
    """
    if truth.shape != predicted.shape:
        raise ImageError(
            f"Two masks of one shape are wanted; the true mask has shape {truth.shape} and the "
            f"predicted one {predicted.shape}. Bring the prediction back to the image's own size."
        )
    if truth.dtype != np.bool_ or predicted.dtype != np.bool_:
        raise ImageError(
            f"Boolean masks are wanted; got {truth.dtype} and {predicted.dtype}. "
            "Threshold probabilities, or compare a label map with the organ's id, first."
        )
    in_truth = int(np.count_nonzero(truth))
    in_predicted = int(np.count_nonzero(predicted))
    intersection = int(np.count_nonzero(truth & predicted))
    return MaskCounts(
        intersection=intersection,
        union=in_truth + in_predicted - intersection,
        truth=in_truth,
        predicted=in_predicted,
    )


def dice_empty_aware(truth: Mask, predicted: Mask) -> float:
    """Dice, 0 to 1; both masks empty: 1; exactly one empty: 0. Raises as `count_pixels`."""
    return count_pixels(truth, predicted).dice


def dice_present_only(truth: Mask, predicted: Mask) -> float | None:
    """Dice, 0 to 1, or `None` where the true mask is empty. Raises as `count_pixels`."""
    counts = count_pixels(truth, predicted)
    return counts.dice if counts.truth else None


def iou_empty_aware(truth: Mask, predicted: Mask) -> float:
    """Intersection over union; both masks empty: 1; one empty: 0. Raises as `count_pixels`."""
    return count_pixels(truth, predicted).iou


def box_iou(first_xyxy: npt.ArrayLike, second_xyxy: npt.ArrayLike) -> float:
    """Intersection over union of two boxes `[x0, y0, x1, y1]`, 0 to 1.

    A box without area (as a rejected query's zeros) overlaps with nothing: 0.
    """
    first = np.asarray(first_xyxy, dtype=np.float64)
    second = np.asarray(second_xyxy, dtype=np.float64)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    intersection = float(np.prod(np.clip(sides, 0.0, None)))
    areas = [float(np.prod(np.clip(box[2:] - box[:2], 0.0, None))) for box in (first, second)]
    union = sum(areas) - intersection
    return intersection / union if union > 0.0 else 0.0
