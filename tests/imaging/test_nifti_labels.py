"""Label maps as NIfTI: voxel by voxel and header field by header field the scan's own frame."""

from __future__ import annotations

import numpy as np
import pytest
from imaging_scans import SCANS, needs_scans

from constructed_scans import (
    AORTA,
    LEFT_KIDNEY,
    LIVER,
    ORIENTATIONS,
    RIGHT_KIDNEY,
    STORED_SLICES,
    as_file,
    display_values,
    known_labels,
    labels_of,
    write_series,
)
from organseg.errors import ImageError
from organseg.imaging import nifti_labels
from organseg.imaging.nifti_labels import write_nifti_labels
from organseg.imaging.scan import open_scan
from organseg.imaging.volumes import read_nifti

nibabel = pytest.importorskip("nibabel")

GEOMETRY_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


def _round_trip(tmp_path, name="labels.nii"):
    """What was written for the scan `tmp_path`/scan.nii, as nibabel reads it."""
    scan = open_scan(tmp_path / "scan.nii")
    write_nifti_labels(tmp_path / name, scan.geometry, known_labels(scan).labels_at)
    scan.close()
    return nibabel.load(tmp_path / name)


@pytest.mark.parametrize("tilt_degrees", [0, 17])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_48_orientations_and_oblique_ones_round_trip_voxel_by_voxel(
    orientation, tilt_degrees, tmp_path, monkeypatch
):
    monkeypatch.setattr(nifti_labels, "_BLOCK_BYTES", 300)
    array, affine = as_file(display_values(), *orientation, tilt_degrees=tilt_degrees)
    source = nibabel.Nifti1Image(array, affine)
    source.set_qform(affine, 1)
    source.set_sform(affine, 2)
    nibabel.save(source, tmp_path / "scan.nii")
    source, written = nibabel.load(tmp_path / "scan.nii"), _round_trip(tmp_path)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(written.dataobj), labels_of(array))
    assert np.array_equal(written.affine, source.affine)
    for field in GEOMETRY_FIELDS:
        assert np.array_equal(written.header[field], source.header[field]), field


@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 1), (4, 3)])
@pytest.mark.parametrize("units", ["mm", "unknown"])
def test_codes_and_units_are_the_scans_even_where_its_two_frames_differ(codes, units, tmp_path):
    array, affine = as_file(display_values(), (2, 1, 0), (True, False, False))
    other = affine.copy()
    other[:3, 3] += [1.5, 2.5, -3.5]
    image = nibabel.Nifti1Image(array, affine)
    image.set_qform(other, codes[0])
    image.set_sform(affine, codes[1])
    image.header.set_xyzt_units(units)
    nibabel.save(image, tmp_path / "scan.nii")
    source, written = nibabel.load(tmp_path / "scan.nii"), _round_trip(tmp_path)
    assert np.array_equal(written.affine, source.affine)
    for field in GEOMETRY_FIELDS:
        assert np.array_equal(written.header[field], source.header[field]), field


def test_left_and_right_stay_apart_in_the_patients_frame(tmp_path):
    for axes, flips in ORIENTATIONS[::5]:
        array, affine = as_file(display_values(), axes, flips)
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
        written = _round_trip(tmp_path)
        labels = np.asanyarray(written.dataobj)
        x_mm = {
            organ: nibabel.affines.apply_affine(written.affine, np.argwhere(labels == organ))[
                :, 0
            ].mean()
            for organ in (LIVER, RIGHT_KIDNEY, AORTA, LEFT_KIDNEY)
        }
        # RAS+: x falls towards the patient's left.
        assert x_mm[LIVER] > x_mm[AORTA] > x_mm[LEFT_KIDNEY]
        assert x_mm[RIGHT_KIDNEY] > x_mm[AORTA]


def test_nothing_of_the_scans_other_fields_or_extensions_is_carried_over(tmp_path):
    array, affine = as_file(display_values(), (2, 1, 0), (False, False, False))
    image = nibabel.Nifti1Image(array, affine)
    image.header["descrip"] = b"Doe^Jane"
    image.header["db_name"] = b"Doe^Jane"
    image.header["aux_file"] = b"Doe^Jane"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    nibabel.save(image, tmp_path / "scan.nii")
    written = _round_trip(tmp_path)
    assert b"Jane" not in (tmp_path / "labels.nii").read_bytes()
    assert written.header.get_intent()[0] == "label"
    assert np.array_equal(np.asanyarray(written.dataobj), labels_of(array))


def test_a_big_endian_scan_gets_a_map_that_reads_alike(tmp_path):
    array, affine = as_file(display_values(), (1, 2, 0), (True, False, True))
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(array, affine, header), tmp_path / "scan.nii")
    written = _round_trip(tmp_path)
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "scan.nii").affine)
    assert np.array_equal(np.asanyarray(written.dataobj), labels_of(array))


def test_a_compressed_map_is_the_same_and_its_bytes_depend_on_nothing_else(tmp_path):
    array, affine = as_file(display_values(), (2, 1, 0), (False, False, True))
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
    first = _round_trip(tmp_path, "one.nii.gz")
    _round_trip(tmp_path, "two.nii.gz")
    assert np.array_equal(np.asanyarray(first.dataobj), labels_of(array))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


@pytest.mark.parametrize("stored_as", range(len(STORED_SLICES)))
def test_a_dicom_series_becomes_a_nifti_in_the_same_place(stored_as, tmp_path):
    pytest.importorskip("pydicom")
    write_series(tmp_path / "series", stored_as)
    scan = open_scan(tmp_path / "series")
    write_nifti_labels(tmp_path / "labels.nii.gz", scan.geometry, known_labels(scan).labels_at)
    written = nibabel.load(tmp_path / "labels.nii.gz")
    # Voxel (column, row, slice) is the series' voxel (slice, row, column).
    _, turn = STORED_SLICES[stored_as]
    stored = np.stack([turn(shown) for shown in labels_of(display_values())])
    assert np.array_equal(np.asanyarray(written.dataobj), stored.transpose(2, 1, 0))
    ends = np.array([[0, 0, 0], [3, 0, 0], [0, 5, 0], [0, 0, 8]])
    places = nibabel.affines.apply_affine(written.affine, ends)
    assert places == pytest.approx(
        nibabel.affines.apply_affine(scan.geometry.affine, ends[:, ::-1])
    )
    assert written.get_qform() == pytest.approx(written.get_sform(), abs=1e-4)
    assert written.header["qform_code"] == written.header["sform_code"] == 1
    assert written.header.get_xyzt_units()[0] == "mm"
    # And read by this package it shows as the series does.
    assert np.array_equal(
        read_nifti(tmp_path / "labels.nii.gz").values, labels_of(display_values())
    )


@pytest.mark.parametrize(("slide_mm", "qform_code"), [(1e-5, 1), (0.005, 1), (0.04, 0)])
def test_a_series_whose_places_are_a_little_skewed_keeps_them_exactly(
    slide_mm, qform_code, tmp_path
):
    pydicom = pytest.importorskip("pydicom")
    write_series(tmp_path / "series")
    for path in (tmp_path / "series").iterdir():
        slice_of_series = pydicom.dcmread(path)
        x, y, z = slice_of_series.ImagePositionPatient
        slice_of_series.ImagePositionPatient = [x + slide_mm * (z - 300) / 5, y, z]
        slice_of_series.save_as(path)
    scan = open_scan(tmp_path / "series")
    write_nifti_labels(tmp_path / "labels.nii", scan.geometry, known_labels(scan).labels_at)
    written = nibabel.load(tmp_path / "labels.nii")
    assert written.get_sform() == pytest.approx(scan.geometry.affine[:, [2, 1, 0, 3]], abs=1e-5)
    assert written.header["qform_code"] == qform_code
    assert written.header.get_zooms() == pytest.approx((0.9, 0.7, 5.0), abs=1e-3)


def test_another_file_name_is_refused_and_a_failure_leaves_no_file(tmp_path):
    array, affine = as_file(display_values(), (2, 1, 0), (False, False, False))
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
    geometry = open_scan(tmp_path / "scan.nii").geometry
    with pytest.raises(ImageError, match=r"ends in .nii or .nii.gz"):
        write_nifti_labels(tmp_path / "labels.png", geometry, lambda index: None)

    def fails(index):
        raise RuntimeError("no labels")

    with pytest.raises(RuntimeError, match="no labels"):
        write_nifti_labels(tmp_path / "labels.nii", geometry, fails)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.nii"]


@needs_scans
@pytest.mark.parametrize("name", ["ts_ct", "ts_mr"])
def test_real_labels_come_back_bit_by_bit(name, tmp_path):
    source = SCANS / name / "seg_flare22.nii.gz"
    scan = open_scan(source)
    write_nifti_labels(
        tmp_path / "labels.nii.gz",
        scan.geometry,
        lambda index: scan.slice_at(index).astype(np.uint8),
    )
    scan.close()
    original, written = nibabel.load(source), nibabel.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asanyarray(original.dataobj), np.asanyarray(written.dataobj))
    for field in GEOMETRY_FIELDS:
        assert np.array_equal(original.header[field], written.header[field]), field
