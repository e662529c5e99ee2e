"""Training, validation and test, split by patient and for good.

A patient's split follows from a hash of its id and the seed alone. So all slices of a patient
stay together, the order of files does not matter, and a patient who joins moves no other.
The shares hold on average: small sets come out uneven.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from organseg.errors import DatasetError

__all__ = [
    "DEFAULT_SHARES",
    "Split",
    "SplitShares",
    "seeded_fraction",
    "split_by_patient",
    "split_of",
]

Item = TypeVar("Item")


class Split(str, Enum):
    """What a patient's images may be used for."""

    TRAIN = "train"
    """To fit weights."""
    VALIDATION = "validation"
    """To choose between models, thresholds and temperatures."""
    TEST = "test"
    """To report, once."""


@dataclass(frozen=True)
class SplitShares:
    """The expected shares of patients; training takes the rest."""

    validation: float = 0.1
    """Share held back to choose by, 0 to 1."""
    test: float = 0.2
    """Share held back to report on, 0 to 1."""

    def __post_init__(self) -> None:
        if min(self.validation, self.test) < 0.0 or self.validation + self.test >= 1.0:
            raise DatasetError(
                "Shares of at least 0 that leave something to train on are wanted; got "
                f"validation {self.validation:g} and test {self.test:g}. Lower them below 1 in sum."
            )


DEFAULT_SHARES = SplitShares()
"""A tenth to choose by, a fifth to report on."""


def seeded_fraction(seed: int, *names: object) -> float:
    """A number in [0, 1) that depends on the seed and the names only, alike on every machine."""
    text = "\x1f".join([str(seed), *map(str, names)])
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    # 53 bits: what a float holds exactly, so that 1.0 cannot come out by rounding.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def split_of(patient_id: str, *, seed: int = 0, shares: SplitShares = DEFAULT_SHARES) -> Split:
    """The split of a patient. Raises `DatasetError` for an empty id."""
    if not patient_id.strip():
        raise DatasetError(
            "A patient id is wanted to split by; got an empty one. Name each scan's patient."
        )
    fraction = seeded_fraction(seed, "split", patient_id)
    # Test first: another validation share then leaves the test patients where they are.
    if fraction < shares.test:
        return Split.TEST
    return Split.VALIDATION if fraction < shares.test + shares.validation else Split.TRAIN


def split_by_patient(
    items: Iterable[Item],
    patient_of: Callable[[Item], str],
    *,
    seed: int = 0,
    shares: SplitShares = DEFAULT_SHARES,
) -> dict[Split, tuple[Item, ...]]:
    """The items of each split, in their order; every split is a key, even where it is empty."""
    parts: dict[Split, list[Item]] = {split: [] for split in Split}
    for item in items:
        parts[split_of(patient_of(item), seed=seed, shares=shares)].append(item)
    return {split: tuple(part) for split, part in parts.items()}
