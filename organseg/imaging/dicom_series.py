"""One DICOM series of a folder: which files belong to it, their order in space, their values.

Headers are read once, one file after another; the pixels of a slice when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging import dicom
from organseg.imaging.limits import MAX_IMAGE_BYTES, MAX_SERIES_FILES, MAX_VOLUME_VOXELS
from organseg.imaging.orientation import DisplayOrientation, slice_normal
from organseg.imaging.volume_geometry import AxisOrder, VolumeGeometry
from organseg.imaging.volume_window import volume_window
from organseg.imaging.voxels import compact
from organseg.imaging.windowing import Intensity, Modality

__all__ = ["DicomScan", "open_dicom_series"]

# Scanners round positions to hundredths of a millimetre; a missing slice doubles a gap.
_GAP_TOLERANCE = 0.1
_COSINE_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-3
# Headers round positions; the smallest tilt that a gantry is set to is a degree.
_TILT_TOLERANCE_DEGREES = 0.5
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class DicomScan:
    """A `Scan` of a DICOM series; `open_dicom_series` makes one.

    Its own axes are (slice, row, column): slices from feet to head, rows and columns as stored.
    """

    def __init__(
        self, geometry: VolumeGeometry, modality: Modality, source_files: tuple[Path, ...]
    ) -> None:
        self.geometry = geometry
        self.modality = modality
        self.source_files = source_files

    def slice_at(self, index: int) -> NDArray[np.int16] | NDArray[np.float32]:
        """The axial slice [H, W] at `index`, from the feet; int16 where the values allow it.

        Raises `ImageError` for an index outside the series, and for pixels that are damaged, of
        colour or dark-is-high.
        """
        self.geometry.check_slice(index)
        stored = _read_values(self.source_files[index])
        return compact(self.geometry.axis_order.apply(stored[np.newaxis])[0])

    def slices(self) -> Iterator[NDArray[np.int16] | NDArray[np.float32]]:
        """All slices from feet to head."""
        return map(self.slice_at, range(len(self.source_files)))

    def default_window(self) -> tuple[float, float]:
        """One window (low, high) for all slices: see `volume_window`."""
        return volume_window(self.modality, self.slices)

    def close(self) -> None:
        """Nothing to give back: files are open only while they are read."""


@dataclass(frozen=True)
class _SliceHeader:
    """What sorting needs to know of one slice."""

    path: Path
    """Its file."""
    series: str
    """SeriesInstanceUID."""
    size_hw: tuple[int, int]
    """Rows and columns."""
    cosines: tuple[float, ...]
    """ImageOrientationPatient: direction of a row, then of a column, LPS."""
    position_mm: NDArray[np.float64]
    """ImagePositionPatient: the centre of the first pixel, LPS [3]."""
    spacing_mm: tuple[float, float]
    """PixelSpacing: between rows, between columns."""
    orientation: DisplayOrientation
    """How the slice becomes a display slice."""
    modality: Modality
    """The scanner."""


def open_dicom_series(folder: Path) -> DicomScan:
    """The one axial CT or MR series in `folder`, its headers read and checked.

    `organseg.imaging.volumes.read_dicom_series` says what it raises.
    """
    headers = _read_headers(folder)
    _check_one_series(headers)
    first = headers[0]
    normal = slice_normal(first.cosines)
    # Feet to head, whichever way the rows and columns turn.
    normal = normal if normal[2] > 0 else -normal
    headers = sorted(headers, key=lambda header: float(header.position_mm @ normal))
    step_mm = _slice_step(headers, normal)
    along_row, along_column = np.array(first.cosines[:3]), np.array(first.cosines[3:])
    affine = np.eye(4)
    affine[:3, 0] = _LPS_TO_RAS @ step_mm
    affine[:3, 1] = _LPS_TO_RAS @ (along_column * first.spacing_mm[0])
    affine[:3, 2] = _LPS_TO_RAS @ (along_row * first.spacing_mm[1])
    affine[:3, 3] = _LPS_TO_RAS @ headers[0].position_mm
    orientation = first.orientation
    rows, columns = (2, 1) if orientation.transpose else (1, 2)
    shape = (len(headers), *first.size_hw)
    along = np.linalg.norm(affine[:3, :3], axis=0)
    geometry = VolumeGeometry(
        shape_zhw=(shape[0], shape[rows], shape[columns]),
        spacing_zyx_mm=(float(along[0]), float(along[rows]), float(along[columns])),
        affine=affine,
        axis_order=AxisOrder(
            file_axes=(0, rows, columns),
            flips=(False, orientation.flip_rows, orientation.flip_columns),
        ),
    )
    return DicomScan(geometry, first.modality, tuple(header.path for header in headers))


def _read_headers(folder: Path) -> list[_SliceHeader]:
    if not folder.is_dir():
        raise ImageError(
            f"wanted a folder of one DICOM series, came {folder.name}, which is no folder; "
            "name the folder that holds the .dcm files"
        )
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) > MAX_SERIES_FILES:
        raise ImageError(
            f"wanted at most {MAX_SERIES_FILES} files in the folder, came {len(paths)}; "
            "put one series into a folder of its own"
        )
    headers = [header for header in map(_read_header, paths) if header is not None]
    if not headers:
        raise ImageError(
            f"wanted DICOM slices in {folder.name}, came {len(paths)} files of which none is a "
            "DICOM image; name the folder that holds the series"
        )
    return headers


def _read_header(path: Path) -> _SliceHeader | None:
    """None for a file that is no DICOM image: a report, a segmentation, a text."""
    if path.stat().st_size > MAX_IMAGE_BYTES:
        return None
    encoded = path.read_bytes()
    if not dicom.looks_like_dicom(encoded):
        return None
    dataset = dicom.parse_dicom(encoded)
    if "PixelData" not in dataset or dataset.get("Modality") == "SEG":
        return None
    _check_modality(str(dataset.get("Modality", "")).strip().upper())
    size_hw = dicom.check_image_header(dataset)
    orientation = dicom.display_orientation(dataset)
    return _SliceHeader(
        path=path,
        series=str(dataset.get("SeriesInstanceUID", "")),
        size_hw=size_hw,
        cosines=_numbers(dataset, "ImageOrientationPatient", 6),
        position_mm=np.array(_numbers(dataset, "ImagePositionPatient", 3)),
        spacing_mm=_pixel_spacing(dataset),
        orientation=orientation,
        modality=dicom.modality_of(dataset),
    )


def _check_modality(modality: str) -> None:
    """CT, MR, or silence: of all others no axial stack of the abdomen is made."""
    if modality in ("", Modality.CT.value, Modality.MR.value):
        return
    # The standard's codes are short capitals; anything else is not worth repeating.
    shown = modality if re.fullmatch(r"[A-Z]{2,8}", modality) else "another one"
    raise ImageError(
        f"wanted a series of CT or MR, came an image of the modality {shown}; "
        "leave only the CT or MR series in the folder, or name the folder that holds it"
    )


def _pixel_spacing(dataset: Any) -> tuple[float, float]:
    between_rows, between_columns = _numbers(dataset, "PixelSpacing", 2)
    if min(between_rows, between_columns) <= 0:
        raise ImageError(
            "wanted a positive PixelSpacing in every DICOM slice, came one that is not; "
            "repair the header"
        )
    return between_rows, between_columns


def _numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in dataset.get(keyword) or ())
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ImageError(
            f"wanted {count} numbers as {keyword} in every DICOM slice, came a slice without "
            "them; a series of images with positions is needed, not screenshots"
        )
    return numbers


def _check_one_series(headers: list[_SliceHeader]) -> None:
    series_count = len({header.series for header in headers})
    if series_count > 1:
        raise ImageError(
            f"wanted a folder of one DICOM series, came {series_count} series mixed; "
            "put each into a folder of its own"
        )
    first = headers[0]
    voxels = first.size_hw[0] * first.size_hw[1] * len(headers)
    if voxels > MAX_VOLUME_VOXELS:
        raise ImageError(
            f"wanted at most {MAX_VOLUME_VOXELS} voxels, came {voxels}; read fewer slices"
        )
    for header in headers[1:]:
        if (
            header.size_hw != first.size_hw
            or header.modality is not first.modality
            or not np.allclose(header.cosines, first.cosines, atol=_COSINE_TOLERANCE)
            or not np.allclose(header.spacing_mm, first.spacing_mm, atol=_SPACING_TOLERANCE)
        ):
            raise ImageError(
                "wanted slices of one size, spacing and direction, came a series whose slices "
                "differ (a localizer among them?); leave only the axial stack in the folder"
            )


def _slice_step(headers: list[_SliceHeader], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step from one slice to the next, mm, LPS [3]; checks that all steps are the same."""
    if len(headers) < 2:
        raise ImageError(
            "wanted at least two slices in a DICOM series, came one; send it as a single image"
        )
    positions = np.stack([header.position_mm for header in headers])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if gaps.min() <= _GAP_TOLERANCE * max(usual, _SPACING_TOLERANCE):
        raise ImageError(
            "wanted every slice at a place of its own, came two at the same (several phases or "
            "echoes in one series?); leave one of them in the folder"
        )
    if np.abs(gaps - usual).max() > _GAP_TOLERANCE * usual:
        raise ImageError(
            f"wanted slices {usual:.2f} mm apart, came gaps from {gaps.min():.2f} to "
            f"{gaps.max():.2f} mm; a slice is missing, copy the series again"
        )
    step_mm: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(headers) - 1)
    _check_upright(positions, step_mm, normal)
    return step_mm


def _check_upright(
    positions: NDArray[np.float64], step_mm: NDArray[np.float64], normal: NDArray[np.float64]
) -> None:
    """Raises `ImageError` where slices slide sideways over each other: a gantry that was tilted."""
    sideways = step_mm - (step_mm @ normal) * normal
    angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step_mm @ normal)))
    if angle > _TILT_TOLERANCE_DEGREES:
        raise ImageError(
            f"wanted slices stacked along their normal, came a series tilted by {angle:.1f} "
            "degrees (gantry tilt); correct the tilt first (dcm2niix writes a corrected NIfTI)"
        )
    on_a_line = positions[0] + np.arange(len(positions))[:, np.newaxis] * step_mm
    off = positions - on_a_line
    off -= (off @ normal)[:, np.newaxis] * normal
    if np.linalg.norm(off, axis=1).max() > _GAP_TOLERANCE * np.linalg.norm(step_mm):
        raise ImageError(
            "wanted slices straight above each other, came some that are shifted sideways; "
            "leave only one straight stack in the folder"
        )


def _read_values(path: Path) -> NDArray[Any]:
    dataset = dicom.parse_dicom(path.read_bytes())
    decoded = dicom.decode_pixels(dataset)
    if decoded.intensity is Intensity.DISPLAY or decoded.is_inverted:
        raise ImageError(
            "wanted slices of HU or signal, came colour or MONOCHROME1 (dark is high) slices; "
            "convert the series to MONOCHROME2"
        )
    return decoded.values
