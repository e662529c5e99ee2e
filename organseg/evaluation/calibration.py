"""Whether a stated probability can be believed, and whether a score ranks at all.

Used for presence (probability that an organ is in the image) and for refusal (probability that
a question is out of scope: the softmax of the 14 similarities over the temperature of training).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from scipy.stats import rankdata

from organseg.errors import InvalidInputError

__all__ = [
    "SIMILARITY_TEMPERATURE",
    "ReliabilityBin",
    "area_under_roc",
    "brier_score",
    "expected_calibration_error",
    "refusal_probability",
    "reliability_bins",
]

SIMILARITY_TEMPERATURE = 0.07
"""What similarities are divided by before their softmax, unless a checkpoint says otherwise."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose probability falls into one interval."""

    low: float
    """Lower edge; inside the bin only for the first."""
    high: float
    """Upper edge, inside the bin."""
    count: int
    """Predictions in the bin."""
    mean_probability: float | None
    """Their mean probability, or `None` of an empty bin."""
    frequency: float | None
    """The share of them that came true, or `None` of an empty bin."""


def reliability_bins(
    probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Equal-width bins over [0, 1]. Raises `InvalidInputError` for values that do not fit."""
    values, truths = _checked(probabilities, outcomes)
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise InvalidInputError(
            "Probabilities from 0 to 1 are wanted; got values from "
            f"{values.min():g} to {values.max():g}. Apply the sigmoid first."
        )
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Right-closed bins; the first also takes exact zeros.
    indices = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    return tuple(
        _bin_of(values[indices == index], truths[indices == index], edges[index : index + 2])
        for index in range(bins)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float | None:
    """ECE: the count-weighted gap of probability and frequency, 0 to 1, or `None` of no data."""
    total = sum(item.count for item in bins)
    gaps = (
        item.count * abs(item.mean_probability - item.frequency)
        for item in bins
        if item.mean_probability is not None and item.frequency is not None
    )
    return sum(gaps) / total if total else None


def brier_score(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float | None:
    """The mean squared error of the probabilities, 0 best, or `None` of no data."""
    values, truths = _checked(probabilities, outcomes)
    return float(np.mean((values - truths) ** 2)) if values.size else None


def area_under_roc(scores: npt.ArrayLike, outcomes: npt.ArrayLike) -> float | None:
    """The chance that a true case scores above a false one, ties half; `None` of one class."""
    values, truths = _checked(scores, outcomes)
    positives = int(truths.sum())
    negatives = truths.size - positives
    if positives == 0 or negatives == 0:
        return None
    rank_sum = float(rankdata(values)[truths.astype(bool)].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def refusal_probability(
    similarity: Sequence[float], temperature: float = SIMILARITY_TEMPERATURE
) -> float:
    """Softmax of 14 similarities over the temperature, its last entry: "none of them", 0 to 1.

    This is the probability that training's cross-entropy over the 14 answers fits.
    """
    return float(softmax(np.asarray(similarity, dtype=np.float64) / temperature)[-1])


def _bin_of(
    values: npt.NDArray[np.float64],
    truths: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
) -> ReliabilityBin:
    return ReliabilityBin(
        low=float(edges[0]),
        high=float(edges[1]),
        count=int(values.size),
        mean_probability=float(values.mean()) if values.size else None,
        frequency=float(truths.mean()) if values.size else None,
    )


def _checked(
    values: npt.ArrayLike, outcomes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    numbers = np.asarray(values, dtype=np.float64)
    truths = np.asarray(outcomes, dtype=np.float64)
    if numbers.ndim != 1 or numbers.shape != truths.shape or not np.isfinite(numbers).all():
        raise InvalidInputError(
            "As many finite scores as outcomes, one axis each, are wanted; got shapes "
            f"{numbers.shape} and {truths.shape}. Drop what has no score first."
        )
    return numbers, truths
