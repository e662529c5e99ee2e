"""A NIfTI file slice by slice: read in blocks of bounded size, whichever axis is the slowest.

A compressed file is unpacked once, into a temporary file (in `TMPDIR`), when the first voxel is
wanted. Where feet-head is the file's slowest axis a slice is one contiguous piece; else a block
of neighbouring slices is gathered in one pass over the file and kept for the next ones.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.limits import MAX_VOLUME_VOXELS, check_size_hw
from organseg.imaging.volume_geometry import AxisOrder, VolumeGeometry
from organseg.imaging.volume_window import volume_window
from organseg.imaging.voxels import compact
from organseg.imaging.windowing import Modality

__all__ = ["NiftiScan", "open_nifti"]

_BLOCK_BYTES = 32 * 2**20
"""What one read of the file, and the slices kept from it, may take; raw voxels."""
_COPY_BYTES = 4 * 2**20


def open_nifti(path: Path, modality: Modality = Modality.UNKNOWN) -> NiftiScan:
    """The scan in a NIfTI file (.nii, .nii.gz); label maps too. Reads the header alone.

    `modality` is what the caller knows: the file does not say. Oblique scans take the nearest
    axes. Raises `ImageError` for a file that is missing, broken, not 3-D, too large, complex or
    colour, or silent about its orientation (left and right could be swapped).
    """
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
    _check_header(image)
    affine = np.asarray(image.affine, dtype=np.float64)
    axis_order = _axis_order(affine)
    depth, height, width = (image.shape[axis] for axis in axis_order.file_axes)
    check_size_hw((height, width))
    along = np.linalg.norm(affine[:3, :3], axis=0)[list(axis_order.file_axes)]
    geometry = VolumeGeometry(
        shape_zhw=(depth, height, width),
        spacing_zyx_mm=(float(along[0]), float(along[1]), float(along[2])),
        affine=affine,
        axis_order=axis_order,
        nifti_header=bytes(image.header.binaryblock),
    )
    return NiftiScan(path, image, geometry, modality)


class NiftiScan:
    """A `Scan` of a NIfTI file; `open_nifti` makes one."""

    def __init__(self, path: Path, image: Any, geometry: VolumeGeometry, mode: Modality) -> None:
        self.geometry = geometry
        self.modality = mode
        self.source_files = (path,)
        self._proxy = image.dataobj
        self._reading = threading.RLock()
        self._file: BinaryIO | None = None
        self._first_kept = 0
        self._kept: NDArray[Any] | None = None

    def slice_at(self, index: int) -> NDArray[np.int16] | NDArray[np.float32]:
        """The axial slice [H, W] at `index`, from the feet; int16 where the values allow it.

        Raises `ImageError` for an index outside the scan, a file that is truncated or damaged,
        or values that are not finite.
        """
        self.geometry.check_slice(index)
        return compact(self._scaled(self._stored_slice(index)))

    def slices(self) -> Iterator[NDArray[np.int16] | NDArray[np.float32]]:
        """All slices from feet to head."""
        return map(self.slice_at, range(self.geometry.shape_zhw[0]))

    def default_window(self) -> tuple[float, float]:
        """One window (low, high) for all slices: see `volume_window`."""
        return volume_window(self.modality, self.slices)

    def close(self) -> None:
        """Closes the file and removes the unpacked copy; a later read opens it again."""
        with self._reading:
            self._kept = None
            if self._file is not None:
                self._file.close()
                self._file = None

    def _stored_slice(self, index: int) -> NDArray[Any]:
        order = self.geometry.axis_order
        count = self.geometry.shape_zhw[0]
        with self._reading:
            if order.display_axis(2) == 0:
                start, stop = order.mirrored(2, index, index + 1, count)
                whole: NDArray[Any] = order.apply(self._read_block(start, stop))[0]
                return whole
            # Blocks start at whole multiples, so that slices asked for out of order share them.
            size = self._slices_a_block
            if self._kept is None or self._first_kept != index // size * size:
                self._kept = None
                self._first_kept = index // size * size
                self._kept = self._gather(self._first_kept, size)
            stored: NDArray[Any] = self._kept[index - self._first_kept]
            return stored

    @property
    def _slices_a_block(self) -> int:
        _, height, width = self.geometry.shape_zhw
        return max(1, _BLOCK_BYTES // (height * width * int(self._proxy.dtype.itemsize)))

    def _gather(self, first: int, count: int) -> NDArray[Any]:
        """The slices from `first` on, at most `count`, in one pass over the file."""
        depth, height, width = self.geometry.shape_zhw
        order = self.geometry.axis_order
        gathered = np.empty((min(count, depth - first), height, width), self._proxy.dtype)
        cut_axis = order.display_axis(2)
        length = self.geometry.file_shape[2]
        step = max(1, _BLOCK_BYTES // self._plane_bytes)
        for start in range(0, length, step):
            stop = min(start + step, length)
            part = order.apply(self._read_block(start, stop))[first : first + len(gathered)]
            low, high = order.mirrored(2, start, stop, length)
            place: list[slice] = [slice(None)] * 3
            place[cut_axis] = slice(low, high)
            gathered[tuple(place)] = part
        return gathered

    @property
    def _plane_bytes(self) -> int:
        first, second, _ = self.geometry.file_shape
        return int(first * second * self._proxy.dtype.itemsize)

    def _read_block(self, start: int, stop: int) -> NDArray[Any]:
        """The file's voxels [:, :, start:stop] as they are stored."""
        first, second, _ = self.geometry.file_shape
        size = (stop - start) * self._plane_bytes
        if self._file is None:
            self._file = self._open()
        place = int(self._proxy.offset) + start * self._plane_bytes
        pieces, got = [], 0
        while got < size:
            # One call gives no more than 2 GiB, and less where a signal came.
            piece = os.pread(self._file.fileno(), size - got, place + got)
            if not piece:
                raise self._damaged()
            pieces.append(piece)
            got += len(piece)
        values = np.frombuffer(b"".join(pieces), dtype=self._proxy.dtype)
        return values.reshape((first, second, stop - start), order="F")

    def _scaled(self, stored: NDArray[Any]) -> NDArray[Any]:
        slope, inter = self._proxy.slope, self._proxy.inter
        if slope == 1 and inter == 0:
            return stored
        from nibabel.volumeutils import apply_read_scaling

        scaled: NDArray[Any] = apply_read_scaling(
            stored, np.asarray(slope, np.float32), np.asarray(inter, np.float32)
        )
        return scaled

    def _open(self) -> BinaryIO:
        """The file, or its unpacked copy where it is compressed."""
        from nibabel.openers import ImageOpener

        name = os.fspath(self._proxy.file_like)
        is_packed = Path(name).suffix.lower() in ImageOpener.compress_ext_map
        try:
            opened = self._unpacked(ImageOpener(name, "rb")) if is_packed else _open_file(name)
        except OSError as error:
            # gzip's own errors are OSErrors without a number.
            if error.errno is None:
                raise self._damaged() from error
            raise ImageError(
                f"wanted to read {Path(name).name} (unpacked into the temporary folder where it is "
                f"compressed), the system says: {error.strerror}; check permissions and disk space"
            ) from error
        except (EOFError, ValueError, zlib.error) as error:
            raise self._damaged() from error
        weakref.finalize(self, opened.close)
        return opened

    def _unpacked(self, packed: Any) -> BinaryIO:
        # No more than the header promises: a small file may unpack to anything.
        left = int(self._proxy.offset) + self._plane_bytes * self.geometry.file_shape[2]
        unpacked = cast(BinaryIO, tempfile.TemporaryFile(prefix="organseg-"))  # noqa: SIM115
        try:
            with packed:
                while left:
                    piece = packed.read(min(left, _COPY_BYTES))
                    if not piece:
                        raise EOFError
                    unpacked.write(piece)
                    left -= len(piece)
            # Blocks are read by position, past the buffer.
            unpacked.flush()
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def _damaged(self) -> ImageError:
        return ImageError(
            f"wanted all voxels of {self.source_files[0].name}, came a file that is truncated or "
            "damaged; copy it again"
        )


def _open_file(name: str) -> BinaryIO:
    return open(name, "rb")


def _check_header(image: Any) -> None:
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
    unit = image.header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise ImageError(
            f"wanted a NIfTI in millimetres, came one in units of {unit}; scale its affine to mm "
            "and set them (nibabel: image.header.set_xyzt_units('mm'))"
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
