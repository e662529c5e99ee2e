"""One intensity window for a whole volume, from its slices one after another.

Memory holds counts, never the volume. The percentiles are exact, also of float32 values: the
bits of positive floats rise with their values, so that two passes of 65,536 counters each find
any value by its rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from organseg.imaging.windowing import (
    CT_WINDOW_HU,
    WINDOW_PERCENTILES,
    Modality,
    interpolate_ranks,
    window_of_range,
)

__all__ = ["volume_window"]

Slices = Callable[[], "Iterable[NDArray[np.int16] | NDArray[np.float32]]"]

_COUNTERS = 1 << 16
_LOW_BITS = 16


def volume_window(modality: Modality, slices: Slices) -> tuple[float, float]:
    """One window (low, high) for all slices of a volume, so that they scale alike.

    CT: [-160, 240] HU. MR: the 0.5 and 99.5 percentiles of the values > 0, as
    `windowing.percentile_window` has them. Unknown: taken as HU if something is darker than
    -160, as the air around a patient is; resampled MR undershoots zero too, but by little.

    `slices` gives the volume's slices from the start, whenever it is called: not at all for CT,
    once where all values are int16, else up to three times.
    """
    if modality is Modality.CT:
        return CT_WINDOW_HU
    low, high = np.inf, -np.inf
    counts: NDArray[np.int64] | None = np.zeros(_COUNTERS, dtype=np.int64)
    for values in slices():
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if modality is Modality.UNKNOWN and low < CT_WINDOW_HU[0]:
            return CT_WINDOW_HU
        if values.dtype != np.int16:
            counts = None
        elif counts is not None:
            positive = values[values > 0]
            counts += np.bincount(positive, minlength=_COUNTERS)
    edges = _float_percentiles(slices) if counts is None else _percentiles_of_counts(counts)
    if edges is not None and edges[0] < edges[1]:
        return edges
    return window_of_range(low, high)


def _percentiles_of_counts(counts: NDArray[np.int64]) -> tuple[float, float] | None:
    """Of whole numbers, given how often each one (the index) comes."""
    up_to = np.cumsum(counts)

    def at(rank: int) -> float:
        return float(np.searchsorted(up_to, rank, side="right"))

    return _edges(int(up_to[-1]), at)


def _float_percentiles(slices: Slices) -> tuple[float, float] | None:
    upper = np.zeros(_COUNTERS, dtype=np.int64)
    for values in slices():
        upper += np.bincount(_bits(values) >> _LOW_BITS, minlength=_COUNTERS)
    up_to = np.cumsum(upper)
    total = int(up_to[-1])
    ranks = {rank for percent in WINDOW_PERCENTILES for rank in _neighbours(total, percent)}
    wanted = {rank: int(np.searchsorted(up_to, rank, side="right")) for rank in ranks}
    lower = {bucket: np.zeros(_COUNTERS, dtype=np.int64) for bucket in wanted.values()}
    for values in slices():
        bits = _bits(values)
        buckets = bits >> _LOW_BITS
        for bucket, counts in lower.items():
            inside = bits[buckets == bucket] & (_COUNTERS - 1)
            counts += np.bincount(inside, minlength=_COUNTERS)

    def at(rank: int) -> float:
        bucket = wanted[rank]
        before = int(up_to[bucket - 1]) if bucket else 0
        inside = int(np.searchsorted(np.cumsum(lower[bucket]), rank - before, side="right"))
        return float(np.array([bucket << _LOW_BITS | inside], dtype=np.uint32).view(np.float32)[0])

    return _edges(total, at)


def _bits(values: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int64]:
    """The bits of the values > 0 as float32, in whole numbers that rise as the values do."""
    positive = values[values > 0].astype(np.float32)
    return positive.view(np.uint32).astype(np.int64)


def _edges(total: int, at: Callable[[int], float]) -> tuple[float, float] | None:
    if total == 0:
        return None
    low, high = (
        interpolate_ranks(total, percent, *(at(rank) for rank in _neighbours(total, percent)))
        for percent in WINDOW_PERCENTILES
    )
    return low, high


def _neighbours(total: int, percent: float) -> tuple[int, int]:
    """The ranks, from 0, between which a percentile of `total` values lies."""
    rank = int((total - 1) * (percent / 100))
    return max(rank, 0), max(min(rank + 1, total - 1), 0)
