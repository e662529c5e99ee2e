"""How far a label file is trusted: for every organ of its map, or for those that it labels."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np

from organseg.data.flare22 import LabelledVolume, ScanFiles, load_scan
from organseg.imaging.windowing import Modality

__all__ = ["LabelCoverage", "load_pair"]


class LabelCoverage(str, Enum):
    """Which organs a label file is trusted for."""

    ALL = "all"
    """Every organ of its label map: one that is not labelled is not there."""
    FOUND = "found"
    """Those that it labels somewhere: others may be there without a label."""


def load_pair(
    files: ScanFiles,
    *,
    label_map: str = "flare22",
    modality: Modality | None = None,
    coverage: LabelCoverage = LabelCoverage.ALL,
) -> LabelledVolume:
    """The scan and its labels as `load_scan` gives them, trusted as far as `coverage` says.

    Raises `DatasetError`, naming the file and the remedy, as `load_scan` does.
    """
    volume = load_scan(files, label_map=label_map, modality=modality)
    if coverage is LabelCoverage.ALL:
        return volume
    found = frozenset(np.unique(volume.labels).tolist())
    return replace(volume, labelled_organ_ids=volume.labelled_organ_ids & found)
