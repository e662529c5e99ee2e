"""Masks of a volume in a temporary file."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from organseg.errors import ImageError
from organseg.imaging.label_volume import LabelVolume

SHAPE = (5, 6, 8)


def _masks() -> np.ndarray:
    """A large organ, and a small one that lies half over it."""
    masks = np.zeros((2, 6, 8), dtype=bool)
    masks[0, 1:5, 1:6] = True
    masks[1, 4:6, 4:7] = True
    return masks


def test_the_smaller_organ_holds_in_the_map_and_both_keep_their_own_masks():
    labels = LabelVolume(SHAPE)
    masks = _masks()
    labels.write_slice(2, masks, [1, 13])
    shown = labels.labels_at(2)
    assert np.array_equal(shown == 13, masks[1])
    assert np.array_equal(shown == 1, masks[0] & ~masks[1])
    assert np.array_equal(labels.mask_at(2, 1), masks[0])
    assert np.array_equal(labels.mask_at(2, 13), masks[1])
    assert labels.has_overlaps
    assert labels.voxels_of(1) == 20
    assert labels.voxels_of(13) == 6


def test_slices_may_come_in_any_order_and_the_others_stay_blank():
    labels = LabelVolume(SHAPE)
    labels.write_slice(4, _masks()[:1], [9])
    labels.write_slice(1, _masks()[1:], [9])
    assert labels.slices_of(9) == (1, 4)
    assert labels.slices_of(1) == ()
    assert labels.organ_ids == (9,)
    assert not labels.has_overlaps
    assert not labels.labels_at(0).any()
    assert not labels.mask_at(1, 3).any()
    whole = labels.as_array()
    assert whole.shape == SHAPE
    assert whole.dtype == np.uint8
    assert np.array_equal(whole, np.stack([labels.labels_at(index) for index in range(5)]))
    with pytest.raises(ValueError, match="read-only"):
        whole[0, 0, 0] = 1


def test_blank_masks_and_none_are_not_organs():
    labels = LabelVolume(SHAPE)
    labels.write_slice(0, np.zeros((1, 6, 8), dtype=bool), [3])
    labels.write_slice(1, np.ones((1, 6, 8), dtype=bool), [14])
    assert labels.organ_ids == ()
    assert not labels.as_array().any()


@pytest.mark.parametrize(
    ("index", "shape", "ids"),
    [(5, (1, 6, 8), [1]), (-1, (1, 6, 8), [1]), (0, (1, 8, 6), [1]), (0, (1, 6, 8), [1, 2])],
)
def test_masks_that_do_not_fit_are_refused(index, shape, ids):
    with pytest.raises(ImageError, match=r"^wanted .+, came .+; .+"):
        LabelVolume(SHAPE).write_slice(index, np.zeros(shape, dtype=bool), ids)


def test_after_closing_arrays_stay_good_and_slices_are_refused():
    labels = LabelVolume(SHAPE)
    labels.write_slice(2, _masks(), [1, 13])
    whole = labels.as_array()
    labels.close()
    labels.close()
    assert whole[2].any()
    with pytest.raises(ImageError, match="closed"):
        labels.labels_at(2)


def test_the_file_goes_with_the_object():
    labels = LabelVolume(SHAPE)
    file = labels._file
    del labels
    gc.collect()
    assert file.closed


def test_blank_slices_take_no_disk():
    labels = LabelVolume((2000, 512, 512))
    labels.write_slice(1000, np.ones((1, 512, 512), dtype=bool), [1])
    import os

    assert os.fstat(labels._file.fileno()).st_blocks * 512 < 2**20
