"""Which slices make a batch: organs evenly, negatives included, the same for the same seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.errors import DatasetError
from organseg.organs import ORGANS
from organseg.training.augment import augment, recolour
from organseg.training.options import AugmentOptions
from organseg.training.slices import SliceSet
from organseg.training.targets import LEAST_PIXELS

_ORGAN_SHARE = 0.6
"""Share of slices drawn for an organ, each organ equally often; the rest is drawn evenly."""


class Drawn(NamedTuple):
    """Changed slices of one batch."""

    images: Tensor
    """uint8 [B, S, S]."""
    labels: Tensor
    """uint8 [B, S, S], organ ids."""
    tissues: Tensor
    """uint8 [B, S, S], the phantom's tissues; 0 everywhere where they are not known."""
    levels: Tensor
    """float32 [B], mm above vertebra L1; NaN where it is not known."""


class SliceSampler:
    """Draws batches from a slice set."""

    def __init__(self, slices: SliceSet, options: AugmentOptions) -> None:
        """Counts once which slice shows which organ.

        Raises:
            DatasetError: no slice shows any organ.
        """
        self.slices = slices
        self.options = options
        self.present = presence_table(slices)
        self._rows = [np.flatnonzero(column) for column in self.present.T]
        self._shown = [rows for rows in self._rows if rows.size]
        if not self._shown:
            raise DatasetError(
                "wanted a slice set that shows organs, got one that shows none: "
                "make it from more volumes"
            )

    def draw(self, batch: int, rng: np.random.Generator) -> Drawn:
        """A batch of changed slices."""
        rows = [self._draw_row(rng) for _ in range(batch)]
        images, labels = self.read(rows)
        tissues = torch.from_numpy(np.stack([self.slices.tissues[row] for row in rows]))
        levels = torch.from_numpy(self.slices.levels[rows].astype(np.float32))
        images = recolour(images, tissues, rng, self.options)
        images, maps = augment(images, torch.stack([labels, tissues], dim=1), rng, self.options)
        return Drawn(images, maps[:, 0], maps[:, 1], levels)

    def read(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Images and labels of these rows as they are stored."""
        images = np.stack([self.slices.images[row] for row in rows])
        labels = np.stack([self.slices.labels[row] for row in rows])
        return torch.from_numpy(images), torch.from_numpy(labels)

    def spread(self, count: int) -> list[int]:
        """`count` rows spread evenly over the whole set."""
        places = np.linspace(0, len(self.slices) - 1, min(count, len(self.slices)))
        return [int(place) for place in places]

    def _draw_row(self, rng: np.random.Generator) -> int:
        if rng.random() < _ORGAN_SHARE:
            return int(rng.choice(self._shown[int(rng.integers(len(self._shown)))]))
        return int(rng.integers(len(self.slices)))


def presence_table(slices: SliceSet) -> npt.NDArray[np.bool_]:
    """Bool [N, 13]: which slice shows which organ."""
    table = np.zeros((len(slices), len(ORGANS)), dtype=np.bool_)
    for row, labels in enumerate(slices.labels):
        counts = np.bincount(labels.ravel(), minlength=len(ORGANS) + 1)
        table[row] = counts[1 : len(ORGANS) + 1] >= LEAST_PIXELS
    return table
