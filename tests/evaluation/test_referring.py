from __future__ import annotations

import pytest

from organseg.evaluation.overlap import MaskCounts
from organseg.evaluation.referring import cumulative_iou, generalized_iou


def query(intersection, truth, predicted):
    return MaskCounts(intersection, truth + predicted - intersection, truth, predicted)


LARGE_GOOD = query(80, 100, 80)
SMALL_BAD = query(1, 4, 5)


def test_giou_is_the_mean_and_ciou_the_ratio_of_sums():
    assert generalized_iou([LARGE_GOOD, SMALL_BAD]) == pytest.approx((80 / 100 + 1 / 8) / 2)
    assert cumulative_iou([LARGE_GOOD, SMALL_BAD]) == pytest.approx((80 + 1) / (100 + 8))


def test_a_no_target_query_left_blank_counts_one_in_giou_and_nothing_in_ciou():
    blank = query(0, 0, 0)
    assert generalized_iou([SMALL_BAD, blank]) == pytest.approx((1 / 8 + 1) / 2)
    assert cumulative_iou([SMALL_BAD, blank]) == pytest.approx(1 / 8)


def test_a_no_target_query_that_was_drawn_on_costs_in_both():
    drawn = query(0, 0, 12)
    assert generalized_iou([SMALL_BAD, drawn]) == pytest.approx((1 / 8 + 0) / 2)
    assert cumulative_iou([SMALL_BAD, drawn]) == pytest.approx(1 / (8 + 12))


def test_without_queries_there_is_no_score():
    assert generalized_iou([]) is None
    assert cumulative_iou([]) is None
    assert cumulative_iou([query(0, 0, 0)]) is None
