"""Scans to measure with: made-up CT and MR of any length, written without holding them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import made_up_picture
from organseg.imaging.decoding import decode_image

__all__ = ["Storage", "write_scan"]

SliceAt = Callable[[int], "NDArray[np.int16]"]
ColumnAt = Callable[[int, int], "NDArray[np.int16]"]

SIDE = 512
"""Rows and columns of each slice, a CT's."""
SPACING_MM = (0.8, 0.8, 1.5)
_DISTINCT = 8
_AIR_HU, _GREY_HU = -1000, 2


class Storage(Enum):
    """How the scan is stored; each is read in its own way."""

    NIFTI = "nii, int16"
    """Uncompressed, feet-head slowest: a slice is one piece of the file."""
    GZIP = "nii.gz, int16"
    """Compressed: unpacked to a temporary file."""
    SAGITTAL = "nii.gz, int16, feet-head fastest"
    """Every slice is spread over the whole file."""
    FLOAT = "nii.gz, float32 MR"
    """Its window takes three passes over all slices."""
    DICOM = "DICOM, int16"
    """A file a slice."""


def write_scan(folder: Path, storage: Storage, depth: int) -> Path:
    """A scan of `depth` slices of 512 x 512; gives the path to open it by."""
    pictures = [_picture(seed) for seed in range(_DISTINCT)]

    def slice_at(index: int) -> NDArray[np.int16]:
        # Shifted sideways, so that no two are equal.
        return np.roll(pictures[index % _DISTINCT], index // _DISTINCT, axis=1)

    def column_at(index: int, column: int) -> NDArray[np.int16]:
        # The same as of the slice, without making it.
        return pictures[index % _DISTINCT][:, (column - index // _DISTINCT) % SIDE]

    if storage is Storage.DICOM:
        return _write_series(folder / "series", slice_at, depth)
    name = "scan.nii" if storage is Storage.NIFTI else "scan.nii.gz"
    return _write_nifti(folder / name, storage, slice_at, column_at, depth)


def _picture(seed: int) -> NDArray[np.int16]:
    grey = decode_image(made_up_picture(seed)).pixels.astype(np.int16)
    hounsfield: NDArray[np.int16] = (grey - 128) * _GREY_HU
    hounsfield[:8] = _AIR_HU
    return hounsfield


def _write_nifti(
    path: Path, storage: Storage, slice_at: SliceAt, column_at: ColumnAt, depth: int
) -> Path:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.openers import ImageOpener

    is_sagittal, is_float = storage is Storage.SAGITTAL, storage is Storage.FLOAT
    header = Nifti1Header()
    header.set_data_dtype(np.float32 if is_float else np.int16)
    across, along, up = SPACING_MM
    if is_sagittal:
        header.set_data_shape((depth, SIDE, SIDE))
        affine = np.array([[0, 0, -across, 0], [0, -along, 0, 0], [up, 0, 0, 0], [0, 0, 0, 1]])
    else:
        header.set_data_shape((SIDE, SIDE, depth))
        affine = np.diag([-across, -along, up, 1])
    header.set_sform(affine, 1)
    header["vox_offset"] = 352
    with ImageOpener(str(path), "wb") as file:
        file.write(bytes(header.binaryblock) + bytes(4))
        if is_sagittal:
            # Column by column of the picture, each with all slices: (Z, H) for every W.
            for column in range(SIDE):
                plane = np.stack([column_at(index, column) for index in range(depth)])
                file.write(plane.tobytes(order="F"))
        else:
            for index in range(depth):
                values = slice_at(index)
                if is_float:
                    # Above zero, as MR is, and no whole numbers.
                    values = (values - _AIR_HU).astype(np.float32) / np.float32(3)
                file.write(values.T.tobytes(order="F"))
    return path


def _write_series(folder: Path, slice_at: SliceAt, depth: int) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(depth):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID, image.Modality = frame, "CT"
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [0, 0, SPACING_MM[2] * index]
        image.PixelSpacing, image.SliceThickness = list(SPACING_MM[:2]), SPACING_MM[2]
        image.Rows = image.Columns = SIDE
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 1
        image.RescaleIntercept, image.RescaleSlope = 0, 1
        image.PixelData = slice_at(index).tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.save_as(folder / f"{index:05}.dcm", enforce_file_format=True)
    return folder
