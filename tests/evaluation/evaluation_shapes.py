"""Masks and label maps that the evaluation's tests share."""

from __future__ import annotations

import numpy as np

SIZE_HW = (24, 32)
SPACING_ZYX_MM = (5.0, 2.0, 1.0)


def disk(row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def labels_of(*organs: tuple[int, np.ndarray]) -> np.ndarray:
    labels = np.zeros(SIZE_HW, dtype=np.uint8)
    for organ_id, mask in organs:
        labels[mask] = organ_id
    return labels
