"""Bootstrap intervals by patient: slices of one patient are drawn together, as they belong.

Everything reported is a ratio of sums (a mean, a rate, cIoU) or the mean of such ratios over
organs, so a resample is a matter of weights on per-patient sums and thousands cost nothing.

Below `LEAST_PATIENTS` there is no interval: resamples of a few patients are mostly the same few
again, so a percentile interval comes out far too narrow and promises what it cannot hold.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from organseg.errors import InvalidInputError

__all__ = ["LEAST_PATIENTS", "Interval", "bootstrap_interval"]

LEAST_PATIENTS = 8
"""Fewer patients get no interval."""


@dataclass(frozen=True)
class Interval:
    """A number with what the choice of patients does to it."""

    value: float | None
    """The number on all patients, or `None` where nothing could be scored."""
    low: float | None
    """Lower end of the percentile interval, or `None` with too few patients."""
    high: float | None
    """Upper end of the percentile interval, or `None` with too few patients."""
    patients: int
    """Patients that contributed."""
    count: int
    """Scored items."""


def bootstrap_interval(
    numerators: npt.ArrayLike,
    patient_ids: Sequence[Hashable],
    *,
    denominators: npt.ArrayLike | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    least_patients: int = LEAST_PATIENTS,
) -> Interval:
    """The value and percentile interval of sum(numerators) / sum(denominators).

    Denominators are 1 where not given: then it is a mean. With `groups` (an organ each item),
    the ratio is taken per group and averaged over the groups, each weighing the same; a group
    that a resample does not contain is left out of that resample. With fewer than
    `least_patients` there is a value and no interval. Seeded: the same items give
    the same interval. Raises `InvalidInputError` where the lengths differ.
    """
    tops = np.asarray(numerators, dtype=np.float64)
    bottoms = (
        np.ones_like(tops) if denominators is None else np.asarray(denominators, dtype=np.float64)
    )
    lengths = {len(tops), len(bottoms), len(patient_ids)}
    if len(lengths | ({len(groups)} if groups is not None else set())) != 1:
        raise InvalidInputError(
            "One numerator, denominator, patient and group for each item are wanted; got "
            f"lengths {sorted(lengths)}. Build them in one pass."
        )
    patients, patient_index = _numbered(patient_ids)
    group_count, group_index = _numbered(groups if groups is not None else [0] * len(tops))
    if patients == 0:
        return Interval(value=None, low=None, high=None, patients=0, count=0)
    cell = patient_index * group_count + group_index
    sums = np.empty((2, patients, group_count), dtype=np.float64)
    for part, items in enumerate((tops, bottoms)):
        flat = np.bincount(cell, weights=items, minlength=patients * group_count)
        sums[part] = flat.reshape(patients, group_count)
    value = _mean_ratio(np.ones((1, patients)), sums)[0]
    low = high = None
    if patients >= max(2, least_patients):
        generator = np.random.default_rng(seed)
        weights = generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
        ratios = _mean_ratio(weights.astype(np.float64), sums)
        tail = (1.0 - level) / 2.0
        ratios = ratios[np.isfinite(ratios)]
        if ratios.size:
            low, high = (float(end) for end in np.quantile(ratios, [tail, 1.0 - tail]))
    return Interval(
        value=float(value) if np.isfinite(value) else None,
        low=low,
        high=high,
        patients=patients,
        count=len(tops),
    )


def _mean_ratio(
    weights: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights [R, patients] and sums [2, patients, groups] to the mean ratio of each resample."""
    tops, bottoms = weights @ sums[0], weights @ sums[1]
    scored = bottoms > 0.0
    ratios = np.divide(tops, bottoms, out=np.zeros_like(tops), where=scored)
    counted = scored.sum(axis=1)
    return np.divide(ratios.sum(axis=1), counted, out=np.full(len(tops), np.nan), where=counted > 0)


def _numbered(names: Sequence[Hashable]) -> tuple[int, npt.NDArray[np.intp]]:
    """How many different names there are, and each item's number."""
    numbers: dict[Hashable, int] = {}
    index = [numbers.setdefault(name, len(numbers)) for name in names]
    return len(numbers), np.array(index, dtype=np.intp)
