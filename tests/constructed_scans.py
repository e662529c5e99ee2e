"""Scans whose organs are known from their values, stored in every way a file can store them.

The object has no symmetry: a large liver on the patient's right, a kidney on each side at
different heights, the aorta in between. `organ_masks` reads the organs off a slice, so that what
an answer should be is known for any slice, whatever the file's axes.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from hostile.images import dicom
from organseg.imaging.label_volume import LabelVolume
from organseg.imaging.scan import Scan

LIVER, RIGHT_KIDNEY, AORTA, LEFT_KIDNEY = 1, 2, 5, 13
HU_OF_ORGAN = {LIVER: 110, RIGHT_KIDNEY: 180, AORTA: 230, LEFT_KIDNEY: 190}

SPACING_ZYX_MM = (5.0, 0.7, 0.9)
# The display axes Z, H, W as RAS+ directions: to the head, the back and the left.
DISPLAY_DIRECTIONS = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], dtype=np.float64)
ORIENTATIONS = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([False, True], repeat=3)
]
"""All 48 ways in which three axes can lie."""

# ImageOrientationPatient, and what it does to a display slice when that is stored.
STORED_SLICES = [
    ([1, 0, 0, 0, 1, 0], lambda shown: shown),
    ([1, 0, 0, 0, -1, 0], lambda shown: shown[::-1]),
    ([-1, 0, 0, 0, 1, 0], lambda shown: shown[:, ::-1]),
    ([-1, 0, 0, 0, -1, 0], lambda shown: shown[::-1, ::-1]),
    ([0, 1, 0, 1, 0, 0], lambda shown: shown.T),
    ([0, -1, 0, -1, 0, 0], lambda shown: shown[::-1, ::-1].T),
    ([0, 1, 0, -1, 0, 0], lambda shown: shown[:, ::-1].T),
    ([0, -1, 0, 1, 0, 0], lambda shown: shown[::-1].T),
]


def display_values() -> np.ndarray:
    """HU, int16 [9, 10, 12]: feet to head, to the posterior, to the patient's left."""
    values = np.full((9, 10, 12), -1000, dtype=np.int16)
    values[1:8, 1:9, 1:11] = 40
    values[4:8, 2:6, 1:6] = HU_OF_ORGAN[LIVER]
    values[1:4, 6:8, 2:4] = HU_OF_ORGAN[RIGHT_KIDNEY]
    values[2:5, 6:8, 8:11] = HU_OF_ORGAN[LEFT_KIDNEY]
    values[1:7, 7:9, 6:7] = HU_OF_ORGAN[AORTA]
    return values


def labels_of(values: np.ndarray) -> np.ndarray:
    """The organ id of each voxel, uint8, of any array of the values."""
    labels = np.zeros(values.shape, dtype=np.uint8)
    for organ_id, hounsfield in HU_OF_ORGAN.items():
        labels[values == hounsfield] = organ_id
    return labels


def organ_masks(values: np.ndarray) -> np.ndarray:
    """The masks of a slice, bool [4, H, W], in the order of `HU_OF_ORGAN`."""
    return np.stack([values == hounsfield for hounsfield in HU_OF_ORGAN.values()])


def known_labels(scan: Scan) -> LabelVolume:
    """The masks of all slices of a scan, as a server that makes no mistake would give them."""
    labels = LabelVolume(scan.geometry.shape_zhw)
    for index in range(scan.geometry.shape_zhw[0]):
        labels.write_slice(index, organ_masks(scan.slice_at(index)), list(HU_OF_ORGAN))
    return labels


def as_file(
    display: np.ndarray, axes: tuple[int, ...], flips: tuple[bool, ...], *, tilt_degrees: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The array and affine of a file whose axis a runs along display axis axes[a], maybe back."""
    array = display.transpose(axes)
    affine = np.eye(4)
    affine[:3, 3] = [11.0, -7.0, 400.0]
    for axis, (display_axis, is_flipped) in enumerate(zip(axes, flips, strict=True)):
        step = DISPLAY_DIRECTIONS[display_axis] * SPACING_ZYX_MM[display_axis]
        affine[:3, axis] = -step if is_flipped else step
        array = np.flip(array, axis) if is_flipped else array
    angle = np.radians(tilt_degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return array, turn @ affine


def write_series(folder: Path, stored_as: int = 0, **elements: object) -> None:
    """The object as a DICOM series with all identifiers, its files named out of order."""
    cosines, turn = STORED_SLICES[stored_as]
    folder.mkdir(exist_ok=True)
    for index, shown in enumerate(display_values()):
        settings = {
            "SOPInstanceUID": f"1.2.826.0.1.{index + 1}",
            "StudyInstanceUID": "1.2.826.0.1.77",
            "FrameOfReferenceUID": "1.2.826.0.1.78",
            "PatientID": "P7",
            "PatientName": "Phantom^Paula",
            "PatientBirthDate": "",
            "PatientSex": "F",
            "AccessionNumber": "",
            "ReferringPhysicianName": "",
            "StudyID": "1",
            "StudyDate": "20260101",
            "StudyTime": "120000",
            "SeriesNumber": 3,
            "SliceThickness": 5,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "ImageOrientationPatient": list(cosines),
            "ImagePositionPatient": [-100, -50, 300 + 5 * index],
            "PixelSpacing": [0.7, 0.9],
            **elements,
        }
        name = f"{(index * 5 + 3) % 9}.dcm"
        (folder / name).write_bytes(dicom(np.ascontiguousarray(turn(shown)), **settings))
