"""Label maps and masks as NIfTI, in exactly the frame of the scan that they belong to."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.scan import NIFTI_SUFFIXES
from organseg.imaging.volume_geometry import AxisOrder, VolumeGeometry

__all__ = ["write_nifti_labels"]

SliceLabels = Callable[[int], "NDArray[np.uint8]"]

_BLOCK_BYTES = 32 * 2**20
_DATA_OFFSET = 352
_SCANNER = 1
# Of a voxel's shortest side.
_SAME_PLACE = 0.1
_DESCRIPTION = b"Organ-Seg; not for diagnosis"


def write_nifti_labels(path: str | Path, geometry: VolumeGeometry, labels_at: SliceLabels) -> None:
    """Writes labels uint8, slice by slice, as a NIfTI (.nii or .nii.gz) on a scan's own grid.

    `labels_at` gives the labels [H, W] of the slice with a given index, in display orientation;
    where feet-head is not the file's slowest axis it is asked for each slice several times.

    For a NIfTI scan shape, axes, affine, qform, sform, their codes and the units are those of
    its header, bit by bit. For a DICOM series the axes are (column, row, slice), each running as
    it is stored, with the affine as sform and qform (which is left out where slices slide so far
    sideways that right angles would miss a tenth of a voxel), code 1 (scanner), in mm.
    Nothing else of the scan is carried over. The file appears whole or not at all. Raises
    `ImageError` for another file name, `OSError` where the file cannot be written.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(NIFTI_SUFFIXES):
        raise ImageError(
            f"wanted a file name that ends in .nii or .nii.gz, came {path.name!r}; rename it"
        )
    order = geometry.axis_order if geometry.nifti_header else _columns_first(geometry.axis_order)
    header = _header(geometry)
    # Beside its place, so that moving it there is one step.
    partial = path.with_name(f".{path.name}.part")
    try:
        with open(partial, "wb") as file, _packed(file, name.endswith(".gz")) as stream:
            stream.write(header)
            for block in _file_blocks(geometry.shape_zhw, order, labels_at):
                stream.write(block.tobytes(order="F"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _packed(file: Any, is_gzip: bool) -> contextlib.AbstractContextManager[Any]:
    # No name and no time inside: equal masks are equal files.
    if is_gzip:
        return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0)
    return contextlib.nullcontext(file)


def _columns_first(order: AxisOrder) -> AxisOrder:
    """(slice, row, column) as (column, row, slice): in a NIfTI file the first axis is fastest."""
    depth, rows, columns = (2 - axis for axis in order.file_axes)
    return AxisOrder((depth, rows, columns), order.flips)


def _header(geometry: VolumeGeometry) -> bytes:
    """The bytes in front of the voxels."""
    from nibabel.nifti1 import Nifti1Header

    shape = geometry.file_shape
    if geometry.nifti_header is not None:
        source = Nifti1Header(geometry.nifti_header, check=False)
        header = Nifti1Header(endianness=source.endianness)
        for field in ("pixdim", "xyzt_units", "dim_info", "qform_code", "sform_code"):
            header[field] = source[field]
        for letter in "bcd":
            header[f"quatern_{letter}"] = source[f"quatern_{letter}"]
        for letter in "xyz":
            header[f"qoffset_{letter}"] = source[f"qoffset_{letter}"]
            header[f"srow_{letter}"] = source[f"srow_{letter}"]
        header["dim"] = source["dim"]
    else:
        header = Nifti1Header()
        shape = (shape[2], shape[1], shape[0])
        affine = geometry.affine[:, [2, 1, 0, 3]]
        header.set_data_shape(shape)
        header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
        header.set_xyzt_units("mm")
        header.set_sform(affine, _SCANNER)
        # A qform has right angles: the nearest ones, since rounded headers are a little off.
        header.set_qform(affine, _SCANNER)
        if not _agree(header.get_qform(), affine, shape):
            header["qform_code"] = 0
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header.set_intent("label")
    header["vox_offset"] = _DATA_OFFSET
    header["magic"] = b"n+1"
    header["descrip"] = _DESCRIPTION
    return bytes(header.binaryblock) + bytes(_DATA_OFFSET - len(header.binaryblock))


def _agree(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]
) -> bool:
    """Whether two affines put every voxel of a grid at the same place, nearly."""
    corners = np.array(list(itertools.product(*((0, length - 1) for length in shape))))
    moved_mm = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    voxel_mm = np.linalg.norm(other[:3, :3], axis=0).min()
    return bool(np.linalg.norm(moved_mm, axis=1).max() <= _SAME_PLACE * voxel_mm)


def _file_blocks(
    shape_zhw: tuple[int, int, int], order: AxisOrder, labels_at: SliceLabels
) -> Iterator[NDArray[np.uint8]]:
    """The voxels in the file's order, in blocks along its slowest axis."""
    depth = shape_zhw[0]
    cut = order.display_axis(2)
    length = shape_zhw[cut]
    if cut == 0:
        for place in range(depth):
            index, _ = order.mirrored(2, place, place + 1, depth)
            yield order.invert(labels_at(index)[np.newaxis])
        return
    plane = shape_zhw[0] * shape_zhw[1] * shape_zhw[2] // length
    step = max(1, _BLOCK_BYTES // plane)
    for start in range(0, length, step):
        low, high = order.mirrored(2, start, min(start + step, length), length)
        part: list[slice] = [slice(None), slice(None)]
        part[cut - 1] = slice(low, high)
        # Copies: views would keep every slice whole.
        yield order.invert(np.stack([labels_at(z)[tuple(part)].copy() for z in range(depth)]))
