"""FLARE22 as it is published, and lookalikes: scans with labels, in display orientation.

The layout: `images/FLARE22_Tr_0001_0000.nii.gz` beside `labels/FLARE22_Tr_0001.nii.gz`. Other
datasets stored this way (AMOS, TotalSegmentator) are read with their own label map. Intensities
follow MedSAM: CT is clipped to [−160, 240] HU, anything else to the 0.5 to 99.5 percentile of the
volume, both become uint8, nothing is padded. Needs nibabel (the `volumes` extra).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from organseg.data.splits import seeded_fraction
from organseg.errors import DatasetError, ImageError
from organseg.imaging.scan import NIFTI_SUFFIXES
from organseg.imaging.volumes import Volume, read_dicom_series, read_nifti
from organseg.imaging.windowing import Modality, window_to_uint8
from organseg.organs import LABEL_MAPS

__all__ = [
    "MODALITY_OF_LABEL_MAP",
    "SLICES_PER_ORGAN",
    "LabelledVolume",
    "ScanFiles",
    "SliceReference",
    "choose_slices",
    "find_scans",
    "load_scan",
    "slices_of_organs",
]

SLICES_PER_ORGAN = 500
"""The paper's bound on slices of one organ."""

_IMAGE_ENDING = "_0000.nii.gz"
_LABEL_ENDING = ".nii.gz"

_LARGEST_LABEL: Mapping[str, int] = {
    "flare22": 13,
    "amos22": 15,
    "totalsegmentator_v2": 117,
    "totalsegmentator_mr": 56,
}
"""Each dataset's largest label value; up to it, what its label map does not list is background."""


MODALITY_OF_LABEL_MAP: Mapping[str, Modality] = {
    "flare22": Modality.CT,
    "amos22": Modality.CT,
    "totalsegmentator_v2": Modality.CT,
    "totalsegmentator_mr": Modality.MR,
}
"""The scanner of each dataset where nothing else says so; AMOS also holds MR (say so)."""


@dataclass(frozen=True)
class ScanFiles:
    """One labelled scan on disk."""

    patient_id: str
    """Who it is of: the file name without its endings (`FLARE22_Tr_0001`)."""
    image: Path
    """The NIfTI file of intensities, or the folder of a DICOM series."""
    labels: Path
    """The NIfTI file of label values on the same grid."""


@dataclass(frozen=True, eq=False)
class LabelledVolume:
    """One scan in display orientation: z feet to head, row ↓ posterior, column → patient left."""

    patient_id: str
    """Who it is of."""
    pixels: npt.NDArray[np.uint8]
    """Windowed intensities, uint8 [Z, H, W]."""
    labels: npt.NDArray[np.uint8]
    """Organ ids 1 to 13, 0 for background, uint8 [Z, H, W]."""
    spacing_zyx_mm: tuple[float, float, float]
    """Slice distance, row height and column width in millimetres."""
    labelled_organ_ids: frozenset[int]
    """The organs that the labels cover; of others nothing is known."""


@dataclass(frozen=True, order=True)
class SliceReference:
    """One slice of one patient."""

    patient_id: str
    """Who it is of."""
    slice_index: int
    """0 at the feet."""


def find_scans(folder: Path) -> tuple[ScanFiles, ...]:
    """The labelled scans of a dataset folder, by patient id; reads names only.

    Raises `DatasetError`, naming file and remedy, for a missing `images` or `labels` folder, an
    empty one, a NIfTI file named otherwise, and an image without labels or the reverse.
    """
    images = _named_files(folder, "images", _IMAGE_ENDING)
    labels = _named_files(folder, "labels", _LABEL_ENDING)
    for patient_id in sorted(images.keys() ^ labels.keys()):
        has, lacks = ("images", "labels") if patient_id in images else ("labels", "images")
        ending = _LABEL_ENDING if lacks == "labels" else _IMAGE_ENDING
        raise DatasetError(
            f"An image and a label file for each scan are wanted; {patient_id} is in {has}/ only. "
            f"Add {lacks}/{patient_id}{ending}, or take the scan out (FLARE22's unlabelled scans "
            "belong into another folder)."
        )
    return tuple(
        ScanFiles(patient_id, images[patient_id], labels[patient_id])
        for patient_id in sorted(images)
    )


def load_scan(
    files: ScanFiles,
    *,
    label_map: str = "flare22",
    modality: Modality | None = None,
    labelled_organ_ids: frozenset[int] | None = None,
) -> LabelledVolume:
    """A scan and its labels as organ ids, both uint8 [Z, H, W] in display orientation.

    `label_map` is a key of `organs.LABEL_MAPS`; `labelled_organ_ids` narrows what the labels are
    trusted for, where a dataset leaves some organs out. `modality` is `None` for the label map's
    own; a DICOM series says it itself. Raises `DatasetError`, naming file and remedy, for a file
    that cannot be read, a CT without a value below 0, grids that differ in shape or place, and
    label values that are not whole, unknown to the label map's dataset, or all background.
    """
    if label_map not in LABEL_MAPS:
        raise DatasetError(
            f"A label map among {sorted(LABEL_MAPS)} is wanted; got {label_map!r}. "
            "Use the one of the dataset that the labels come from."
        )
    if files.image.is_dir():
        image = _read_series(files.image)
    else:
        image = _read(files.image, modality or MODALITY_OF_LABEL_MAP[label_map])
        _check_hounsfield(files.image, image)
    labels = _read(files.labels, Modality.UNKNOWN)
    _check_same_grid(files, image, labels)
    known = frozenset(LABEL_MAPS[label_map].values())
    return LabelledVolume(
        patient_id=files.patient_id,
        pixels=_windowed(image),
        labels=_organ_ids(files.labels, labels.values, label_map),
        spacing_zyx_mm=image.spacing_zyx_mm,
        labelled_organ_ids=known if labelled_organ_ids is None else known & labelled_organ_ids,
    )


def slices_of_organs(volumes: Iterable[LabelledVolume]) -> dict[int, tuple[SliceReference, ...]]:
    """For each labelled organ id the slices that show it. Volumes may be a generator."""
    found: dict[int, list[SliceReference]] = {}
    for volume in volumes:
        for organ_id in sorted(volume.labelled_organ_ids):
            shown = np.flatnonzero((volume.labels == organ_id).any(axis=(1, 2)))
            found.setdefault(organ_id, []).extend(
                SliceReference(volume.patient_id, int(index)) for index in shown
            )
    return {organ_id: tuple(slices) for organ_id, slices in found.items()}


def choose_slices(
    slices_by_organ: Mapping[int, Iterable[SliceReference]],
    *,
    limit: int = SLICES_PER_ORGAN,
    seed: int = 0,
) -> dict[int, tuple[SliceReference, ...]]:
    """At most `limit` slices of each organ, sorted; the choice does not hang on their order.

    Slices are ranked by a hash of seed, organ, patient and slice: the same slices and seed give
    the same choice, and a few slices more displace only a few.
    """
    return {
        organ_id: tuple(
            sorted(
                sorted(
                    set(slices),
                    key=lambda item: seeded_fraction(
                        seed, "slice", organ_id, item.patient_id, item.slice_index
                    ),
                )[:limit]
            )
        )
        for organ_id, slices in slices_by_organ.items()
    }


def _named_files(folder: Path, part: str, ending: str) -> dict[str, Path]:
    """The NIfTI files of `images` or `labels` by patient id."""
    place = folder / part
    if not place.is_dir():
        raise DatasetError(
            f"A dataset folder with images/ and labels/ is wanted; {folder.name}/ has no {part}/ "
            "folder. Name the folder that holds both, as FLARE22 is unpacked."
        )
    files: dict[str, Path] = {}
    # Hidden files are the file manager's ("._FLARE22_Tr_0001.nii.gz" on some archives).
    visible = (path for path in sorted(place.iterdir()) if not path.name.startswith("."))
    for path in visible:
        if not path.name.endswith(NIFTI_SUFFIXES):
            continue
        patient_id = path.name.removesuffix(ending)
        is_channel = part == "labels" and path.name.endswith(_IMAGE_ENDING)
        if not path.name.endswith(ending) or not patient_id or is_channel:
            raise DatasetError(
                f"Files named {part}/CASE{ending} are wanted; got {part}/{path.name}. "
                "Rename it as FLARE22 does: images/CASE_0000.nii.gz and labels/CASE.nii.gz."
            )
        files[patient_id] = path
    if not files:
        raise DatasetError(
            f"At least one file {part}/CASE{ending} is wanted; {folder.name}/{part}/ holds none. "
            "Unpack the dataset there."
        )
    return files


def _read(path: Path, modality: Modality) -> Volume:
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file() or path.stat().st_size == 0:
        raise DatasetError(
            f"A NIfTI file is wanted; {name} is missing or empty. Copy or download it again."
        )
    try:
        return read_nifti(path, modality)
    except ImageError as error:
        raise DatasetError(f"{name} cannot be used: {error}") from error


def _read_series(folder: Path) -> Volume:
    try:
        return read_dicom_series(folder)
    except ImageError as error:
        raise DatasetError(
            f"{folder.parent.name}/{folder.name}/ cannot be used: {error}"
        ) from error


def _check_same_grid(files: ScanFiles, image: Volume, labels: Volume) -> None:
    names = " and ".join(f"{path.parent.name}/{path.name}" for path in (files.image, files.labels))
    if image.values.shape != labels.values.shape:
        raise DatasetError(
            f"Labels on the image's own grid are wanted; {names} have shapes "
            f"{image.values.shape} and {labels.values.shape} (slices, rows, columns). Resample "
            "the labels with nearest neighbour, or find the file that belongs to the image."
        )
    # Compared where it matters: how far apart they put the corners of the scan. Two NIfTI files
    # of one scan also store it alike; a series never stores it as the labels beside it do.
    first, second = (
        (_file_corners_mm(image, image.affine), _file_corners_mm(image, labels.affine))
        if files.image.is_file()
        else (_display_corners_mm(image), _display_corners_mm(labels))
    )
    apart_mm = np.linalg.norm(first - second, axis=1).max()
    if not apart_mm <= 0.5 * min(image.spacing_zyx_mm):
        raise DatasetError(
            f"Labels in the image's own place are wanted; the headers of {names} put a corner "
            f"{apart_mm:.2f} mm apart, more than half a voxel. One of them was flipped or moved: "
            "left and right could be exchanged. Copy the right affine, once you have looked."
        )


def _file_corners_mm(volume: Volume, affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where an affine puts the eight corners of the file's own axes, float64 [8, 3], RAS+."""
    size = np.take(volume.values.shape, np.argsort(volume.axis_order.file_axes))
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)], dtype=np.float64)
    corners[:, :3] *= size - 1
    world: npt.NDArray[np.float64] = (corners @ affine.T)[:, :3]
    return world


def _display_corners_mm(volume: Volume) -> npt.NDArray[np.float64]:
    """Where the eight corner voxels of [Z, H, W] lie, float64 [8, 3], RAS+."""
    ends = np.array(volume.values.shape) - 1
    order = volume.axis_order
    corners = np.ones((8, 4))
    for row, corner in enumerate(np.ndindex(2, 2, 2)):
        for axis, (at_end, is_flipped) in enumerate(zip(corner, order.flips, strict=True)):
            corners[row, order.file_axes[axis]] = ends[axis] * (at_end != is_flipped)
    world: npt.NDArray[np.float64] = (corners @ volume.affine.T)[:, :3]
    return world


def _check_hounsfield(path: Path, image: Volume) -> None:
    darkest = float(image.values.min())
    if image.modality is Modality.CT and darkest >= 0.0:
        raise DatasetError(
            f"Hounsfield units, in which air is near -1000, are wanted of a CT; "
            f"{path.parent.name}/{path.name} has nothing below {darkest:g}. Say --modality mr "
            "(modality=Modality.MR) if it is no CT, or take the scan before it was rescaled."
        )


def _windowed(image: Volume) -> npt.NDArray[np.uint8]:
    """All slices under the volume's one window, one at a time to keep memory low."""
    window = image.default_window()
    pixels = np.empty(image.values.shape, dtype=np.uint8)
    for index, plane in enumerate(image.values):
        pixels[index] = window_to_uint8(plane, window)
    return pixels


def _organ_ids(
    path: Path, values: npt.NDArray[np.int16] | npt.NDArray[np.float32], label_map: str
) -> npt.NDArray[np.uint8]:
    name = f"{path.parent.name}/{path.name}"
    if values.dtype != np.int16:
        raise DatasetError(
            f"Whole label values are wanted; {name} has fractions or values beyond 16 bits. "
            "It may be an image or a smoothly resampled label map: resample with nearest "
            "neighbour."
        )
    largest = _LARGEST_LABEL[label_map]
    found: npt.NDArray[np.int16] = np.unique(values.astype(np.int16, copy=False))
    unknown = found[(found < 0) | (found > largest)].tolist()
    if unknown:
        raise DatasetError(
            f"Label values from 0 to {largest} ({label_map}) are wanted; {name} has "
            f"{unknown[:8]}. Choose the label map of the dataset it comes from (--label-map; "
            "totalsegmentator_v2 reads files of version 2 only, version 1 numbers otherwise)."
        )
    if found.tolist() == [0]:
        raise DatasetError(
            f"At least one labelled voxel is wanted; {name} is all background. Find the labels "
            "that belong to the image, or take the scan out."
        )
    organ_of_value = np.zeros(largest + 1, dtype=np.uint8)
    for value, organ_id in LABEL_MAPS[label_map].items():
        organ_of_value[value] = organ_id
    return organ_of_value[values]
