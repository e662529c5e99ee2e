"""Scans read slice by slice: the same voxels as read whole, in blocks of whatever size."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from constructed_scans import ORIENTATIONS, as_file, display_values, write_series
from organseg.errors import ImageError
from organseg.imaging import nifti_scan
from organseg.imaging.scan import Scan, is_volume_path, open_scan
from organseg.imaging.volumes import read_nifti
from organseg.imaging.windowing import CT_WINDOW_HU, Modality

nibabel = pytest.importorskip("nibabel")


def _write(path, orientation=((2, 1, 0), (False, False, False)), values=None):
    array, affine = as_file(display_values() if values is None else values, *orientation)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.mark.parametrize("block_bytes", [1, 700])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_is_read_in_blocks_of_any_size(
    orientation, block_bytes, tmp_path, monkeypatch
):
    monkeypatch.setattr(nifti_scan, "_BLOCK_BYTES", block_bytes)
    scan = open_scan(_write(tmp_path / "scan.nii", orientation))
    assert np.array_equal(np.stack(list(scan.slices())), display_values())
    for index in (8, 0, 5):
        assert np.array_equal(scan.slice_at(index), display_values()[index])
        assert scan.slice_at(index).flags.c_contiguous
    scan.close()


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_reading_goes_on_after_a_scan_was_closed(name, tmp_path):
    scan = open_scan(_write(tmp_path / name))
    first = scan.slice_at(5)
    scan.close()
    scan.close()
    assert np.array_equal(scan.slice_at(5), first)
    scan.close()


def test_threads_may_read_one_scan_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti_scan, "_BLOCK_BYTES", 700)
    scan = open_scan(_write(tmp_path / "scan.nii.gz", ((0, 1, 2), (True, False, True))))
    wrong = []

    def read(indices):
        wrong.extend(i for i in indices if (scan.slice_at(i) != display_values()[i]).any())

    threads = [threading.Thread(target=read, args=(range(start, 9),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scan.close()
    assert wrong == []


def test_an_uncompressed_file_is_read_piece_by_piece(tmp_path):
    path = _write(tmp_path / "scan.nii")
    # The head's slices are cut off: those at the feet are there all the same.
    with path.open("r+b") as file:
        file.truncate(352 + 2 * 10 * 12 * 4)
    scan = open_scan(path)
    assert np.array_equal(scan.slice_at(3), display_values()[3])
    with pytest.raises(ImageError, match="truncated") as caught:
        scan.slice_at(4)
    assert str(tmp_path) not in str(caught.value)
    scan.close()


def test_a_compressed_file_that_ends_early_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(-500, 500, (9, 10, 12), np.int16)
    path = _write(tmp_path / "scan.nii.gz", values=noise)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ImageError, match="truncated"):
        open_scan(path).slice_at(8)


def test_no_more_is_unpacked_than_the_header_promises(tmp_path):
    import gzip

    path = _write(tmp_path / "scan.nii.gz")
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole + bytes(2**24)))
    scan = open_scan(path)
    assert np.array_equal(scan.slice_at(8), display_values()[8])
    assert scan._file.seek(0, 2) == len(whole)
    scan.close()


@pytest.mark.parametrize("dtype", [">i2", "<f4", ">f8", "u1", "<i4"])
def test_every_number_type_and_byte_order_reads_as_nibabel_reads_it(dtype, tmp_path):
    values = np.abs(display_values()) % 250
    array, affine = as_file(values, (0, 2, 1), (False, True, True))
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(np.dtype(dtype))
    image = nibabel.Nifti1Image(array.astype(dtype), affine, header)
    nibabel.save(image, tmp_path / "scan.nii")
    scan = open_scan(tmp_path / "scan.nii")
    assert np.array_equal(np.stack(list(scan.slices())), values)
    scan.close()


def test_a_scan_in_slices_is_the_same_as_a_scan_in_memory(tmp_path):
    path = _write(tmp_path / "scan.nii.gz", ((1, 0, 2), (True, True, False)))
    scan, volume = open_scan(path, Modality.MR), read_nifti(path, Modality.MR)
    assert isinstance(scan, Scan)
    assert isinstance(volume, Scan)
    assert np.array_equal(np.stack(list(scan.slices())), volume.values)
    assert scan.default_window() == volume.default_window()
    assert scan.modality is volume.modality is Modality.MR
    assert scan.source_files == volume.source_files == (path,)
    assert scan.geometry.shape_zhw == volume.geometry.shape_zhw
    assert scan.geometry.axis_order == volume.geometry.axis_order
    assert scan.geometry.nifti_header == volume.geometry.nifti_header
    scan.close()


def test_a_series_is_decoded_file_by_file(tmp_path):
    pytest.importorskip("pydicom")
    write_series(tmp_path / "series", stored_as=5)
    scan = open_scan(tmp_path / "series")
    assert scan.default_window() == CT_WINDOW_HU
    # The other files are not needed for this slice.
    for path in scan.source_files[:4] + scan.source_files[5:]:
        path.unlink()
    assert np.array_equal(scan.slice_at(4), display_values()[4])


def test_the_volume_of_a_voxel_holds_for_oblique_grids_too(tmp_path):
    for tilt in (0, 20):
        array, affine = as_file(display_values(), (2, 0, 1), (True, False, True), tilt_degrees=tilt)
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
        assert open_scan(tmp_path / "scan.nii").geometry.voxel_ml == pytest.approx(
            5.0 * 0.7 * 0.9 / 1000
        )


def test_a_path_that_is_not_there_is_refused_without_naming_it(tmp_path):
    with pytest.raises(ImageError, match=r"^wanted .+, found none .+; .+") as caught:
        open_scan(tmp_path / "Jane Doe.nii.gz")
    assert "Jane" not in str(caught.value)


def test_folders_and_nifti_names_are_volumes(tmp_path):
    assert is_volume_path(tmp_path)
    assert is_volume_path(tmp_path / "A.NII.GZ")
    assert not is_volume_path(tmp_path / "slice.png")
