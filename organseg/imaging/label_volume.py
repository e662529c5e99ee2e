"""The masks of a whole volume, slice by slice, in a temporary file: disk, not memory.

Two bytes a voxel at most, and none for slices that show nothing: the file is sparse. It lies in
`TMPDIR` without a name and is gone with the object.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organseg.errors import ImageError
from organseg.imaging.masks import flatten_masks
from organseg.organs import NONE

__all__ = ["LabelVolume"]


class LabelVolume:
    """Which organs lie in which voxels of a volume [Z, H, W].

    A label map holds one organ a voxel, the smaller where masks of a slice overlap; the masks of
    single organs keep both.
    """

    def __init__(self, shape_zhw: tuple[int, int, int]) -> None:
        self.shape_zhw = shape_zhw
        self._plane = shape_zhw[1] * shape_zhw[2]
        # Label map first, then the bits of all organs for slices where some overlap.
        self._file: Any = tempfile.TemporaryFile(prefix="organseg-", buffering=0)  # noqa: SIM115
        self._closing = weakref.finalize(self, self._file.close)
        self._file.truncate(3 * self._plane * shape_zhw[0])
        self._overlapping: set[int] = set()
        self._voxels: dict[int, dict[int, int]] = {}

    @property
    def organ_ids(self) -> tuple[int, ...]:
        """The organs with at least one voxel, rising."""
        return tuple(sorted(self._voxels))

    @property
    def has_overlaps(self) -> bool:
        """Whether a voxel belongs to several organs."""
        return bool(self._overlapping)

    def slices_of(self, organ_id: int) -> tuple[int, ...]:
        """The slices that show an organ, rising."""
        return tuple(sorted(self._voxels.get(organ_id, ())))

    def voxels_of(self, organ_id: int) -> int:
        """The number of voxels in an organ's own mask."""
        return sum(self._voxels.get(organ_id, {}).values())

    def write_slice(self, index: int, masks: NDArray[np.bool_], organ_ids: Sequence[int]) -> None:
        """Keeps K masks, bool [K, H, W], of one slice in display orientation, once.

        Blank masks and those of "none" are passed over. Raises `ImageError` where shapes or
        counts do not fit the volume.
        """
        if masks.shape != (len(organ_ids), *self.shape_zhw[1:]) or index not in range(
            self.shape_zhw[0]
        ):
            raise ImageError(
                f"wanted masks [K, {self.shape_zhw[1]}, {self.shape_zhw[2]}] of {len(organ_ids)} "
                f"organs for one of {self.shape_zhw[0]} slices, came shape {masks.shape} for slice "
                f"{index}; pass the answer's masks as they are"
            )
        shown = [
            entry
            for entry, organ_id in enumerate(organ_ids)
            if organ_id != NONE.id and masks[entry].any()
        ]
        if not shown:
            return
        masks, ids = masks[shown], [int(organ_ids[entry]) for entry in shown]
        for mask, organ_id in zip(masks, ids, strict=True):
            self._voxels.setdefault(organ_id, {})[index] = int(np.count_nonzero(mask))
        self._write(index * self._plane, flatten_masks(masks, ids))
        if masks.sum(axis=0, dtype=np.uint8).max() > 1:
            bits = np.zeros(self.shape_zhw[1:], dtype=np.uint16)
            for mask, organ_id in zip(masks, ids, strict=True):
                bits[mask] |= 1 << organ_id
            self._overlapping.add(index)
            self._write(self._bits_place(index), bits)

    def labels_at(self, index: int) -> NDArray[np.uint8]:
        """The label map of a slice, uint8 [H, W]: organ ids, 0 for background."""
        return self._read(index * self._plane, np.uint8)

    def mask_at(self, index: int, organ_id: int) -> NDArray[np.bool_]:
        """One organ's own mask in a slice, bool [H, W]."""
        if index not in self._voxels.get(organ_id, ()):
            return np.zeros(self.shape_zhw[1:], dtype=np.bool_)
        if index not in self._overlapping:
            is_organ: NDArray[np.bool_] = self.labels_at(index) == organ_id
            return is_organ
        bits = self._read(self._bits_place(index), np.uint16)
        return (bits >> organ_id & 1).astype(np.bool_)

    def as_array(self) -> NDArray[np.uint8]:
        """The whole label map, uint8 [Z, H, W], mapped from the file: read-only, not copied."""
        return np.memmap(self._open_file(), dtype=np.uint8, mode="r", shape=self.shape_zhw)

    def close(self) -> None:
        """Removes the file; arrays that were given stay good."""
        self._closing()

    def _bits_place(self, index: int) -> int:
        return (self.shape_zhw[0] + 2 * index) * self._plane

    def _open_file(self) -> Any:
        if self._file.closed:
            raise ImageError(
                "wanted the masks of a result that is open, this one was closed; "
                "write what you need before you close it"
            )
        return self._file

    def _write(self, place: int, values: NDArray[Any]) -> None:
        view = np.ascontiguousarray(values).data.cast("B")
        descriptor = self._open_file().fileno()
        while view:
            written = os.pwrite(descriptor, view, place)
            view, place = view[written:], place + written

    def _read(self, place: int, dtype: Any) -> NDArray[Any]:
        values = np.empty(self.shape_zhw[1:], dtype=dtype)
        view = values.data.cast("B")
        descriptor = self._open_file().fileno()
        while view:
            got = os.preadv(descriptor, [view], place)
            view, place = view[got:], place + got
        return values
