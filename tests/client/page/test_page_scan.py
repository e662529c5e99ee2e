"""What the page opens: pictures, NIfTI, DICOM series; and how masks lie on what is shown."""

from __future__ import annotations

import io

import nibabel
import numpy as np
import pytest
from PIL import Image

from organseg.errors import ImageError
from organseg.imaging.orientation import IDENTITY, DisplayOrientation
from organseg.imaging.windowing import Modality
from organseg_client.page.scan import OpenScan, ScanKind, open_scan


def write_png(path, height=40, width=60):
    pixels = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def picture_of(shape_hw, orientation=IDENTITY) -> OpenScan:
    return OpenScan(
        kind=ScanKind.PICTURE,
        name="scan.png",
        shown=np.zeros((1, *shape_hw), dtype=np.uint8),
        window=(0.0, 255.0),
        spacing_zyx_mm=(1.0, 1.0, 1.0),
        modality=Modality.UNKNOWN,
        orientation=orientation,
    )


def read_back(scan: OpenScan):
    return nibabel.nifti1.Nifti1Image.from_stream(io.BytesIO(scan.nifti()))


def test_a_picture_is_shown_as_it_is_and_asked_with_its_own_bytes(tmp_path):
    path = tmp_path / "slice.png"
    pixels = write_png(path)
    scan = open_scan((path,), "slice.png")
    assert scan.kind is ScanKind.PICTURE
    assert np.array_equal(scan.shown[0], pixels)
    assert scan.question_arguments(0) == {"image": path.read_bytes()}
    assert scan.to_dict()["knows_sides"] is False


def test_a_nifti_is_shown_in_display_order_whatever_its_axes(tmp_path):
    values = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10) - 500
    path = tmp_path / "scan.nii.gz"
    nibabel.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0])).to_filename(path)
    scan = open_scan((path,), "scan.nii.gz")
    assert scan.kind is ScanKind.NIFTI
    # RAS in the file: x to the right, y to the front; shown to the left, to the back.
    assert np.array_equal(scan.shown, values[::-1, ::-1].transpose(2, 1, 0))
    arguments = scan.question_arguments(3)
    assert np.array_equal(arguments["image"], scan.shown[3])
    assert arguments["window"] == scan.window


def test_the_viewers_nifti_keeps_every_voxel_where_it_is_in_the_patient(tmp_path):
    values = np.zeros((8, 9, 10), dtype=np.int16)
    values[6, 2, 7] = 1000
    path = tmp_path / "scan.nii"
    nibabel.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0])).to_filename(path)
    image = read_back(open_scan((path,), "scan.nii"))
    place = np.argwhere(np.asarray(image.dataobj) == 1000)[0]
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert place.tolist() == [8 - 1 - 6, 9 - 1 - 2, 7]
    assert image.header.get_zooms() == (2.0, 3.0, 4.0)


def test_very_large_pictures_are_thinned_for_the_viewer_alone():
    scan = picture_of((100, 4096))
    assert scan.step == 2
    assert read_back(scan).shape == (2048, 50, 1)
    assert scan.to_dict()["size_hw"] == [100, 4096]


@pytest.mark.parametrize("bits", range(8))
def test_masks_and_boxes_of_a_turned_picture_lie_on_each_other(bits):
    orientation = DisplayOrientation(bool(bits & 1), bool(bits & 2), bool(bits & 4))
    stored = np.zeros((30, 50), dtype=bool)
    stored[4:10, 7:21] = True
    scan = picture_of(orientation.apply(stored).shape, orientation)
    shown = scan.to_shown(stored)
    rows, columns = np.nonzero(shown)
    wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    boxes = np.array([[7, 4, 21, 10], [0, 0, 0, 0]], dtype=np.float32)
    assert scan.boxes_to_shown(boxes).tolist() == [wanted, [0, 0, 0, 0]]


def test_several_pictures_are_refused_with_words(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        write_png(path)
    with pytest.raises(ImageError, match="came 2 files of which none is DICOM"):
        open_scan(tuple(paths), "2 files")


def test_no_file_is_refused_with_words():
    with pytest.raises(ImageError, match="wanted a file, came none"):
        open_scan((), "")


def test_a_nifti_of_another_name_is_told_how_to_be_named(tmp_path):
    path = tmp_path / "scan.img"
    nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    (tmp_path / "a.nii").rename(path)
    with pytest.raises(ImageError, match=r"name ends in \.nii"):
        open_scan((path,), "scan.img")


def test_junk_is_refused_with_the_readers_words(tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 nothing to see")
    with pytest.raises(ImageError, match="came bytes that start as none of them"):
        open_scan((path,), "report.pdf")


def test_a_real_series_is_one_volume(shared_data):
    paths = tuple(sorted((shared_data / "ts_dicom" / "dicom").iterdir()))
    scan = open_scan(paths, "dicom")
    assert scan.kind is ScanKind.DICOM_SERIES
    assert scan.modality is Modality.CT
    assert scan.shown.shape == (20, 512, 512)
    assert scan.window == (-160.0, 240.0)
