"""Whole scans in one frame: NIfTI files and DICOM series, and masks back in the file's own axes.

A volume is [Z, H, W]: slices from feet to head, each in display orientation (row down to the
posterior, column right to the patient's left). Needs nibabel or pydicom (extra `volumes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging import dicom_series
from organseg.imaging.limits import MAX_VOLUME_VOXELS, check_size_hw
from organseg.imaging.windowing import CT_WINDOW_HU, Modality, percentile_window

__all__ = ["AxisOrder", "Volume", "read_dicom_series", "read_nifti"]

Scalar = TypeVar("Scalar", bound=np.generic)

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class AxisOrder:
    """How a file's three axes become [Z, H, W], and exactly back."""

    file_axes: tuple[int, int, int]
    """Which axis of the file becomes Z, H and W."""
    flips: tuple[bool, bool, bool]
    """Which of Z, H and W are then reversed."""

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """An array in the file's axes as [Z, H, W]."""
        return np.flip(array.transpose(self.file_axes), self._flipped_axes)

    def invert(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """An array [Z, H, W] in the file's axes: exactly undoes `apply`."""
        unflipped = np.flip(array, self._flipped_axes)
        return unflipped.transpose(np.argsort(self.file_axes).tolist())

    @property
    def _flipped_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, is_flipped in enumerate(self.flips) if is_flipped)


@dataclass(frozen=True)
class Volume:
    """One scan, in display orientation."""

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

    def slice_at(self, index: int) -> NDArray[np.int16] | NDArray[np.float32]:
        """The axial slice [H, W] at `index`, counted from the feet; contiguous.

        Raises `ImageError` for an index outside 0 to Z - 1.
        """
        count = self.values.shape[0]
        if not 0 <= index < count:
            raise ImageError(
                f"wanted a slice from 0 (feet) to {count - 1} (head), came {index}; "
                "choose one in that range"
            )
        # Two branches, so that the type keeps saying "all of one dtype".
        if self.values.dtype == np.int16:
            return np.ascontiguousarray(self.values[index], dtype=np.int16)
        return np.ascontiguousarray(self.values[index], dtype=np.float32)

    def restore(self, mask_zhw: NDArray[Scalar]) -> NDArray[Scalar]:
        """A mask or label map [Z, H, W] of this volume in the file's own axes, voxel by voxel.

        For NIfTI these are the file's (i, j, k); for a DICOM series (slice, row, column) with
        the slices in the order of `source_files`. Raises `ImageError` for another shape.
        """
        if mask_zhw.shape != self.values.shape:
            raise ImageError(
                f"wanted a mask of the volume's shape {self.values.shape}, "
                f"came {mask_zhw.shape}; build it from this volume's slices"
            )
        return np.ascontiguousarray(self.axis_order.invert(mask_zhw))

    def default_window(self) -> tuple[float, float]:
        """One window (low, high) for all slices, so that they scale alike.

        CT: [-160, 240] HU. MR: the percentile window of the whole volume. Unknown: taken as HU
        if something is darker than -160, as the air around a patient is; resampled MR
        undershoots zero too, but by little.
        """
        is_unknown = self.modality is Modality.UNKNOWN
        if self.modality is Modality.CT or (is_unknown and self.values.min() < CT_WINDOW_HU[0]):
            return CT_WINDOW_HU
        return percentile_window(self.values)


def read_nifti(path: str | Path, modality: Modality = Modality.UNKNOWN) -> Volume:
    """The volume of a NIfTI file (.nii, .nii.gz); label maps too.

    `modality` is what the caller knows: the file does not say. Oblique scans take the nearest
    axes. Raises `ImageError` for a file that is missing, broken, not 3-D, too large, complex or
    colour, not finite, or silent about its orientation (left and right could be swapped).
    """
    path = Path(path)
    try:
        import nibabel
    except ImportError as error:
        raise ImageError(
            "wanted nibabel to read a NIfTI file, came an installation without it; "
            "pip install 'organseg[volumes]'"
        ) from error
    try:
        image = nibabel.nifti1.Nifti1Image.from_filename(str(path))
    # nibabel raises its own errors, OSError, zlib.error, ValueError and more.
    except Exception as error:
        raise ImageError(
            f"wanted a NIfTI file (.nii or .nii.gz), came {path.name}, which is missing or no "
            "readable NIfTI; check the path and that the file is whole"
        ) from error
    _check_nifti_header(image)
    affine = np.asarray(image.affine, dtype=np.float64)
    axis_order = _axis_order(affine)
    check_size_hw((image.shape[axis_order.file_axes[1]], image.shape[axis_order.file_axes[2]]))
    try:
        if image.dataobj.slope == 1 and image.dataobj.inter == 0:
            stored = np.asanyarray(image.dataobj)
        else:
            stored = image.get_fdata(dtype=np.float32, caching="unchanged")
    except Exception as error:
        raise ImageError(
            f"wanted all voxels of {path.name}, came a file that is truncated or damaged; "
            "copy it again"
        ) from error
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return Volume(
        values=_compact(axis_order.apply(stored)),
        spacing_zyx_mm=_spacing(spacing[list(axis_order.file_axes)]),
        affine=affine,
        axis_order=axis_order,
        modality=modality,
        source_files=(path,),
    )


def read_dicom_series(folder: str | Path) -> Volume:
    """The volume of a folder that holds one axial DICOM series.

    Files that are no images (reports, segmentations, text) are passed over. Slices are sorted by
    position along their normal, never by name. Raises `ImageError` for no images, several
    series, slices that differ in size or direction, missing or doubled slices, or slices that
    are not axial.
    """
    series = dicom_series.read_series(Path(folder))
    orientation = series.orientation
    rows_and_columns = (2, 1) if orientation.transpose else (1, 2)
    axis_order = AxisOrder(
        file_axes=(0, *rows_and_columns),
        flips=(False, orientation.flip_rows, orientation.flip_columns),
    )
    spacing = np.linalg.norm(series.affine[:3, :3], axis=0)
    return Volume(
        values=_compact(axis_order.apply(series.values)),
        spacing_zyx_mm=_spacing(spacing[list(axis_order.file_axes)]),
        affine=series.affine,
        axis_order=axis_order,
        modality=series.modality,
        source_files=series.files,
    )


def _check_nifti_header(image: Any) -> None:
    """Raises `ImageError` where shape, type or orientation cannot be used; reads no voxel."""
    shape = image.shape
    if len(shape) != 3:
        raise ImageError(
            f"wanted a 3-D NIfTI, came one of {len(shape)} axes; "
            "take one volume of it (nibabel: image.slicer[..., 0])"
        )
    # Axis by axis: a product of int16 header fields could not overflow, but could be 0.
    if min(shape) < 1 or int(np.prod(shape, dtype=np.float64)) > MAX_VOLUME_VOXELS:
        raise ImageError(
            f"wanted 1 to {MAX_VOLUME_VOXELS} voxels, came shape {tuple(shape)}; "
            "crop or resample the scan"
        )
    if image.get_data_dtype().kind not in "iuf":
        raise ImageError(
            "wanted a NIfTI of integers or floats, came complex or colour voxels; "
            "convert it to one real value a voxel"
        )
    if int(image.header["qform_code"]) <= 0 and int(image.header["sform_code"]) <= 0:
        raise ImageError(
            "wanted a NIfTI that says where left and right are, came one with qform_code and "
            "sform_code 0; set the affine if you know it (nibabel: image.set_sform(affine, 1))"
        )


def _axis_order(affine: NDArray[np.float64]) -> AxisOrder:
    """The file axes nearest to feet-head, front-back and right-left, for a RAS+ affine."""
    import nibabel

    matrix = affine[:3, :3]
    is_usable = np.isfinite(affine).all() and abs(np.linalg.det(matrix)) > 1e-9
    orientation = nibabel.orientations.io_orientation(affine) if is_usable else None
    if orientation is None or np.isnan(orientation).any():
        raise ImageError(
            "wanted a NIfTI affine with three directions, came one that is singular or not "
            "finite; repair the header"
        )
    # One row a file axis: the world axis (x, y, z) it runs along, and its sense.
    axis_of_world = {int(world): axis for axis, (world, _) in enumerate(orientation)}
    sense_of_world = {int(world): sense for world, sense in orientation}
    return AxisOrder(
        file_axes=(axis_of_world[2], axis_of_world[1], axis_of_world[0]),
        # RAS+ rises to the right, the front and the head; display to the left and the back.
        flips=(sense_of_world[2] < 0, sense_of_world[1] > 0, sense_of_world[0] > 0),
    )


def _compact(values: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    """int16 where all values are whole numbers that fit, else float32; contiguous."""
    fits = _INT16.min <= values.min() and values.max() <= _INT16.max
    if fits and (values.dtype.kind in "iu" or np.array_equal(values, np.rint(values))):
        return np.ascontiguousarray(values, dtype=np.int16)
    with np.errstate(over="ignore"):
        as_float = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(as_float).all():
        raise ImageError(
            "wanted finite values in every voxel, came NaN or infinity; "
            "replace them, for CT by air (-1024)"
        )
    return as_float


def _spacing(spacing_mm: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])
