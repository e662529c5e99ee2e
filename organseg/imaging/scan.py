"""A scan whose slices are read when they are asked for: one at a time, whatever its size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.dicom_series import open_dicom_series
from organseg.imaging.nifti_scan import open_nifti
from organseg.imaging.volume_geometry import VolumeGeometry
from organseg.imaging.windowing import Modality

__all__ = ["NIFTI_SUFFIXES", "Scan", "SliceValues", "is_volume_path", "open_scan"]

SliceValues: TypeAlias = "NDArray[np.int16] | NDArray[np.float32]"

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""What the names of NIfTI files end with."""


@runtime_checkable
class Scan(Protocol):
    """One volume, slice by slice in display orientation.

    `organseg.imaging.volumes.Volume` is one too, with all voxels in memory. Several threads may
    ask at once.
    """

    @property
    def geometry(self) -> VolumeGeometry:
        """Its grid."""
        ...

    @property
    def modality(self) -> Modality:
        """The scanner; unknown for a NIfTI unless the caller says."""
        ...

    @property
    def source_files(self) -> tuple[Path, ...]:
        """The NIfTI file, or the DICOM file of each slice, feet to head."""
        ...

    def slice_at(self, index: int) -> SliceValues:
        """The axial slice [H, W] at `index`, counted from the feet; contiguous.

        Whole numbers that fit come as int16, others as float32. Raises `ImageError` for an
        index outside the scan, and for a slice that is damaged or not finite.
        """
        ...

    def slices(self) -> Iterator[SliceValues]:
        """All slices from feet to head, in the order that is quickest to read."""
        ...

    def default_window(self) -> tuple[float, float]:
        """One window (low, high) for all slices: see `volume_window`. May read all of them."""
        ...

    def close(self) -> None:
        """Gives back files and memory; a second call does nothing."""
        ...


def is_volume_path(path: Path) -> bool:
    """Whether a path names a volume (a folder, or a NIfTI by its name) rather than a picture."""
    return path.is_dir() or path.name.lower().endswith(NIFTI_SUFFIXES)


def open_scan(path: str | os.PathLike[str], modality: Modality = Modality.UNKNOWN) -> Scan:
    """The scan of a NIfTI file (.nii, .nii.gz), or of a folder that holds one DICOM series.

    `modality` is what the caller knows of a NIfTI, which does not say itself. Headers are read
    and checked now, voxels when they are asked for. Raises `ImageError` as `open_nifti` and
    `open_dicom_series` do; its message holds no path.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(
            "wanted a NIfTI file or a DICOM folder, found none at the path given; check the path"
        )
    return open_dicom_series(path) if path.is_dir() else open_nifti(path, modality)
