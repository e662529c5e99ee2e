"""Whole scans in memory: NIfTI files and DICOM series, and masks back in the file's own axes.

A volume is [Z, H, W]: slices from feet to head, each in display orientation (row down to the
posterior, column right to the patient's left). Needs nibabel or pydicom (extra `volumes`).
`organseg.imaging.scan` reads the same files slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from organseg.imaging.dicom_series import open_dicom_series
from organseg.imaging.nifti_scan import open_nifti
from organseg.imaging.scan import Scan
from organseg.imaging.volume_geometry import AxisOrder, VolumeGeometry
from organseg.imaging.volume_window import volume_window
from organseg.imaging.windowing import Modality

__all__ = ["AxisOrder", "Volume", "read_dicom_series", "read_nifti"]

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Volume:
    """One scan, in display orientation; a `Scan` too."""

    values: NDArray[np.int16] | NDArray[np.float32]
    """HU, signal or labels, int16 or float32 [Z, H, W]: feet to head, to the posterior, to the
    patient's left."""
    spacing_zyx_mm: tuple[float, float, float]
    """Distance of neighbouring voxels along Z, H and W."""
    affine: NDArray[np.float64]
    """[4, 4]: index in the file's own axes (those of `restore`) to mm, RAS+ as in NIfTI."""
    axis_order: AxisOrder
    """The way between the file's own axes and [Z, H, W]."""
    modality: Modality
    """The scanner; unknown for a NIfTI unless the caller says."""
    source_files: tuple[Path, ...]
    """The NIfTI file, or the DICOM file of each slice, feet to head."""
    nifti_header: bytes | None = field(default=None, repr=False)
    """The 348 bytes of the NIfTI header, if the scan came from one."""

    @property
    def geometry(self) -> VolumeGeometry:
        """The grid of the voxels."""
        depth, height, width = self.values.shape
        return VolumeGeometry(
            shape_zhw=(depth, height, width),
            spacing_zyx_mm=self.spacing_zyx_mm,
            affine=self.affine,
            axis_order=self.axis_order,
            nifti_header=self.nifti_header,
        )

    def slice_at(self, index: int) -> NDArray[np.int16] | NDArray[np.float32]:
        """The axial slice [H, W] at `index`, counted from the feet; contiguous.

        Raises `ImageError` for an index outside 0 to Z - 1.
        """
        self.geometry.check_slice(index)
        # Two branches, so that the type keeps saying "all of one dtype".
        if self.values.dtype == np.int16:
            return np.ascontiguousarray(self.values[index], dtype=np.int16)
        return np.ascontiguousarray(self.values[index], dtype=np.float32)

    def slices(self) -> Iterator[NDArray[np.int16] | NDArray[np.float32]]:
        """All slices from feet to head."""
        return map(self.slice_at, range(len(self.values)))

    def restore(self, mask_zhw: NDArray[Scalar]) -> NDArray[Scalar]:
        """A mask or label map [Z, H, W] of this volume in the file's own axes, voxel by voxel.

        For NIfTI these are the file's (i, j, k); for a DICOM series (slice, row, column) with
        the slices in the order of `source_files`. Raises `ImageError` for another shape.
        """
        return self.geometry.restore(mask_zhw)

    def default_window(self) -> tuple[float, float]:
        """One window (low, high) for all slices, so that they scale alike.

        CT: [-160, 240] HU. MR: the percentile window of the whole volume. Unknown: taken as HU
        if something is darker than -160, as the air around a patient is; resampled MR
        undershoots zero too, but by little.
        """
        return volume_window(self.modality, self.slices)

    def close(self) -> None:
        """Nothing to give back: there for the protocol `Scan`."""


def read_nifti(path: str | Path, modality: Modality = Modality.UNKNOWN) -> Volume:
    """The volume of a NIfTI file (.nii, .nii.gz); label maps too.

    `modality` is what the caller knows: the file does not say. Oblique scans take the nearest
    axes. Raises `ImageError` for a file that is missing, broken, not 3-D, too large, complex or
    colour, not finite, or silent about its orientation (left and right could be swapped).
    """
    return _read_whole(open_nifti(Path(path), modality))


def read_dicom_series(folder: str | Path) -> Volume:
    """The volume of a folder that holds one axial DICOM series of CT or MR.

    Files that are no images (reports, segmentations, text) are passed over. Slices are sorted by
    position along their normal, never by name. Raises `ImageError` for no images, several
    series, another modality, slices that differ in size or direction, missing or doubled slices,
    a tilted gantry, or slices that are not axial.
    """
    return _read_whole(open_dicom_series(Path(folder)))


def _read_whole(scan: Scan) -> Volume:
    """All slices; int16 where all values of all slices are whole numbers that fit."""
    geometry = scan.geometry
    values: NDArray[np.int16] | NDArray[np.float32] = np.empty(geometry.shape_zhw, dtype=np.int16)
    try:
        for index, one in enumerate(scan.slices()):
            if one.dtype != np.int16 and values.dtype == np.int16:
                values = values.astype(np.float32)
            values[index] = one
    finally:
        scan.close()
    return Volume(
        values=values,
        spacing_zyx_mm=geometry.spacing_zyx_mm,
        affine=geometry.affine,
        axis_order=geometry.axis_order,
        modality=scan.modality,
        source_files=scan.source_files,
        nifti_header=geometry.nifti_header,
    )
