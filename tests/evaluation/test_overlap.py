from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from organseg.errors import ImageError
from organseg.evaluation.overlap import (
    box_iou,
    count_pixels,
    dice_empty_aware,
    dice_present_only,
    iou_empty_aware,
)

EMPTY = np.zeros((4, 5), dtype=bool)
SQUARE = np.pad(np.ones((2, 2), dtype=bool), ((1, 1), (1, 2)))


@pytest.mark.parametrize("seed", range(5))
def test_dice_and_iou_agree_with_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.random((2, 3, 17, 11)) < 0.3
    flat = truth.ravel(), predicted.ravel()
    assert dice_empty_aware(truth, predicted) == pytest.approx(f1_score(*flat))
    assert dice_present_only(truth, predicted) == pytest.approx(f1_score(*flat))
    assert iou_empty_aware(truth, predicted) == pytest.approx(jaccard_score(*flat))


def test_two_half_overlapping_rectangles_by_hand():
    truth, predicted = np.zeros((2, 4, 4), dtype=bool)
    truth[:, :2], predicted[:, 1:3] = True, True
    assert dice_empty_aware(truth, predicted) == 2 * 4 / (8 + 8)
    assert iou_empty_aware(truth, predicted) == 4 / 12


def test_both_masks_empty_scores_one_but_is_no_present_query():
    assert dice_empty_aware(EMPTY, EMPTY) == 1.0
    assert iou_empty_aware(EMPTY, EMPTY) == 1.0
    assert dice_present_only(EMPTY, EMPTY) is None


def test_a_false_positive_on_an_absent_organ_scores_zero():
    assert dice_empty_aware(EMPTY, SQUARE) == 0.0
    assert iou_empty_aware(EMPTY, SQUARE) == 0.0
    assert dice_present_only(EMPTY, SQUARE) is None


def test_a_missed_organ_scores_zero_in_both_ways():
    assert dice_empty_aware(SQUARE, EMPTY) == 0.0
    assert dice_present_only(SQUARE, EMPTY) == 0.0


def test_masks_of_different_shape_are_refused_with_both_shapes():
    with pytest.raises(ImageError, match=r"\(4, 5\).*\(5, 4\)"):
        count_pixels(EMPTY, EMPTY.T)


def test_probabilities_are_refused_as_masks():
    with pytest.raises(ImageError, match="float64"):
        count_pixels(EMPTY, EMPTY.astype(float))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1.0),
        ((0, 0, 4, 4), (2, 2, 6, 6), 4 / 28),
        ((0, 0, 4, 4), (4, 0, 8, 4), 0.0),
        ((0, 0, 4, 4), (0, 0, 0, 0), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((5, 5, 1, 1), (0, 0, 6, 6), 0.0),
    ],
)
def test_box_iou_by_hand(first, second, expected):
    assert box_iou(first, second) == pytest.approx(expected)


def test_box_iou_equals_the_mask_iou_of_the_filled_boxes():
    generator = np.random.default_rng(3)
    for _ in range(20):
        boxes = np.sort(generator.integers(0, 20, size=(2, 2, 2)), axis=1)
        boxes[:, 1] += 1
        filled = np.zeros((2, 24, 24), dtype=bool)
        for plane, ((x0, y0), (x1, y1)) in zip(filled, boxes, strict=True):
            plane[y0:y1, x0:x1] = True
        flat = boxes.reshape(2, 4)
        assert box_iou(flat[0], flat[1]) == pytest.approx(iou_empty_aware(*filled))
