"""gIoU and cIoU of referring segmentation, as LISA counts them.

One query is one mask pair: unions over the organs asked for and over everything drawn. A
no-target query on which nothing is drawn scores 1, and any pixel drawn on it scores 0.

Source: Lai et al., "LISA: Reasoning Segmentation via Large Language Model", section 4.1, and its
validation code.
"""

from __future__ import annotations

from collections.abc import Sequence

from organseg.evaluation.overlap import MaskCounts

__all__ = ["cumulative_iou", "generalized_iou"]


def generalized_iou(queries: Sequence[MaskCounts]) -> float | None:
    """gIoU: the mean over queries of their intersection over union, or `None` of no query."""
    if not queries:
        return None
    return sum(query.iou for query in queries) / len(queries)


def cumulative_iou(queries: Sequence[MaskCounts]) -> float | None:
    """cIoU: summed intersections over summed unions, or `None` where nothing was drawn or true.

    Large organs weigh more than small ones here; read it beside gIoU.
    """
    union = sum(query.union for query in queries)
    return sum(query.intersection for query in queries) / union if union else None
