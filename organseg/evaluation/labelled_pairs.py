"""One image and its labels: NIfTI or a DICOM folder beside a NIfTI label map, in display frame."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from organseg.data.flare22 import LabelledVolume, ScanFiles, load_scan
from organseg.errors import DatasetError, ImageError
from organseg.imaging.volumes import Volume, read_dicom_series, read_nifti
from organseg.imaging.windowing import Modality, window_to_uint8
from organseg.organs import LABEL_MAPS

__all__ = ["LabelCoverage", "load_pair", "window_volume"]


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
    modality: Modality = Modality.UNKNOWN,
    coverage: LabelCoverage = LabelCoverage.ALL,
) -> LabelledVolume:
    """The scan and its labels; `files.image` is a NIfTI file or the folder of a DICOM series.

    A series says its modality itself. Raises `DatasetError`, naming the file and the remedy,
    as `load_scan` does.
    """
    if files.image.is_dir():
        volume = _load_series(files, label_map)
    else:
        volume = load_scan(files, label_map=label_map, modality=modality)
    if coverage is LabelCoverage.ALL:
        return volume
    found = frozenset(np.unique(volume.labels).tolist())
    return replace(volume, labelled_organ_ids=volume.labelled_organ_ids & found)


def window_volume(
    values: npt.NDArray[np.int16] | npt.NDArray[np.float32], low_high: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """All slices of [Z, H, W] under one window, as uint8; one at a time to keep memory low."""
    pixels = np.empty(values.shape, dtype=np.uint8)
    for index, plane in enumerate(values):
        pixels[index] = window_to_uint8(plane, low_high)
    return pixels


def _load_series(files: ScanFiles, label_map: str) -> LabelledVolume:
    try:
        image = read_dicom_series(files.image)
        labels = read_nifti(files.labels)
    except ImageError as error:
        raise DatasetError(f"{files.patient_id} cannot be used: {error}") from error
    _check_same_place(files, image, labels)
    organ_ids = _organ_ids(files, labels, label_map)
    return LabelledVolume(
        patient_id=files.patient_id,
        pixels=window_volume(image.values, image.default_window()),
        labels=organ_ids,
        spacing_zyx_mm=image.spacing_zyx_mm,
        labelled_organ_ids=frozenset(LABEL_MAPS[label_map].values()),
    )


def _check_same_place(files: ScanFiles, image: Volume, labels: Volume) -> None:
    if image.values.shape != labels.values.shape:
        raise DatasetError(
            f"Labels on the series' own grid are wanted; {files.image.name}/ and "
            f"{files.labels.name} have shapes {image.values.shape} and {labels.values.shape} "
            "(slices, rows, columns). Resample the labels with nearest neighbour."
        )
    apart_mm = np.linalg.norm(_corners_mm(image) - _corners_mm(labels), axis=1).max()
    if not apart_mm <= 0.5 * min(image.spacing_zyx_mm):
        raise DatasetError(
            f"Labels in the series' own place are wanted; {files.image.name}/ and "
            f"{files.labels.name} put a corner {apart_mm:.2f} mm apart, more than half a voxel. "
            "One of them was flipped or moved: find the labels that belong to the series."
        )


def _corners_mm(volume: Volume) -> npt.NDArray[np.float64]:
    """Where the eight corner voxels of [Z, H, W] lie, float64 [8, 3], RAS+."""
    ends = np.array(volume.values.shape) - 1
    order = volume.axis_order
    corners = np.ones((8, 4))
    for row, corner in enumerate(np.ndindex(2, 2, 2)):
        for axis, (at_end, is_flipped) in enumerate(zip(corner, order.flips, strict=True)):
            corners[row, order.file_axes[axis]] = ends[axis] * (at_end != is_flipped)
    world: npt.NDArray[np.float64] = (corners @ volume.affine.T)[:, :3]
    return world


def _organ_ids(files: ScanFiles, labels: Volume, label_map: str) -> npt.NDArray[np.uint8]:
    known = LABEL_MAPS[label_map]
    found = np.unique(labels.values)
    # The other datasets label much that is none of the 13; FLARE22's values are all ours.
    unknown = [value for value in found.tolist() if value != 0 and value not in known]
    if labels.values.dtype != np.int16 or found.min() < 0 or (unknown and label_map == "flare22"):
        raise DatasetError(
            f"Whole label values of {label_map} are wanted; {files.labels.name} has others "
            f"({unknown[:8]}). Choose the label map of the dataset it comes from (--label-map)."
        )
    organ_of_value = np.zeros(int(found.max()) + 1, dtype=np.uint8)
    for value in found.tolist():
        organ_of_value[value] = known.get(value, 0)
    if not organ_of_value[found].any():
        raise DatasetError(
            f"At least one labelled organ is wanted; {files.labels.name} has none in {label_map}. "
            "Find the labels that belong to the series."
        )
    return organ_of_value[labels.values]
