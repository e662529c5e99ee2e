from __future__ import annotations

import numpy as np
import pytest
from imaging_scans import SCANS, needs_scans

from organseg.imaging.decoding import decode_image
from organseg.imaging.encoding import encode_npy
from organseg.imaging.orientation import IDENTITY
from organseg.imaging.volumes import read_dicom_series, read_nifti
from organseg.imaging.windowing import CT_WINDOW_HU, Modality, window_to_uint8
from organseg.organs import organ_by_name

pytestmark = needs_scans

LIVER, SPLEEN, AORTA = (organ_by_name(name).id for name in ("liver", "spleen", "aorta"))
RIGHT_KIDNEY, LEFT_KIDNEY = (organ_by_name(name).id for name in ("right kidney", "left kidney"))


def _centre_zyx(labels: np.ndarray, organ_id: int) -> np.ndarray:
    return np.argwhere(labels == organ_id).mean(axis=0)


@pytest.mark.parametrize("folder", ["ts_ct", "ts_mr"])
def test_left_organs_lie_right_in_the_picture_and_the_spine_side_below(folder):
    labels = read_nifti(SCANS / folder / "seg_flare22.nii.gz").values
    middle = labels.shape[2] / 2
    assert _centre_zyx(labels, RIGHT_KIDNEY)[2] < middle < _centre_zyx(labels, LEFT_KIDNEY)[2]
    assert _centre_zyx(labels, LIVER)[2] < middle < _centre_zyx(labels, SPLEEN)[2]
    stomach = organ_by_name("stomach").id
    assert _centre_zyx(labels, stomach)[1] < _centre_zyx(labels, LEFT_KIDNEY)[1]


def test_slices_run_from_feet_to_head():
    labels = read_nifti(SCANS / "ts_ct" / "seg_flare22.nii.gz").values
    assert _centre_zyx(labels, LEFT_KIDNEY)[0] < _centre_zyx(labels, SPLEEN)[0]


@pytest.mark.parametrize("folder", ["ts_ct", "ts_mr"])
def test_image_and_labels_share_one_grid_and_go_back_exactly(folder):
    nibabel = pytest.importorskip("nibabel")
    path = SCANS / folder / "seg_flare22.nii.gz"
    image, labels = read_nifti(SCANS / folder / "image.nii.gz"), read_nifti(path)
    assert image.values.shape == labels.values.shape
    assert np.array_equal(labels.restore(labels.values), np.asanyarray(nibabel.load(path).dataobj))


def test_the_ct_nifti_gets_the_ct_window_and_the_mr_its_own():
    assert read_nifti(SCANS / "ts_ct" / "image.nii.gz").default_window() == CT_WINDOW_HU
    low, high = read_nifti(SCANS / "ts_mr" / "image.nii.gz").default_window()
    assert 0 < low < 50
    assert 300 < high < 833


def test_the_dicom_series_fits_the_labels_that_were_drawn_as_nifti():
    image = read_dicom_series(SCANS / "ts_dicom" / "dicom")
    labels = read_nifti(SCANS / "ts_dicom" / "seg_flare22.nii.gz")
    assert image.modality is Modality.CT
    assert image.values.shape == labels.values.shape == (20, 512, 512)
    assert image.spacing_zyx_mm == pytest.approx(labels.spacing_zyx_mm, rel=1e-4)
    # In Hounsfield units: enhanced vessel above enhanced liver, both soft tissue. A slip of the
    # frame in any axis would bring in fat and air.
    liver, aorta = (image.values[labels.values == organ_id] for organ_id in (LIVER, AORTA))
    assert 60 < np.median(liver) < 130
    assert np.mean((liver > -20) & (liver < 250)) > 0.95
    assert np.median(aorta) > np.median(liver) + 20


def test_one_dicom_file_shows_as_its_slice_of_the_series():
    series = read_dicom_series(SCANS / "ts_dicom" / "dicom")
    for index in (0, 7, 19):
        decoded = decode_image(series.source_files[index].read_bytes())
        assert decoded.orientation == IDENTITY
        assert decoded.modality is Modality.CT
        expected = window_to_uint8(series.slice_at(index), series.default_window())
        assert np.array_equal(decoded.pixels, expected)


def test_a_volumes_slice_sent_as_npy_with_its_window_shows_as_in_the_volume():
    for folder in ("ts_ct", "ts_mr"):
        volume = read_nifti(SCANS / folder / "image.nii.gz")
        window = volume.default_window()
        middle = volume.slice_at(volume.values.shape[0] // 2)
        decoded = decode_image(encode_npy(middle), window=window)
        assert np.array_equal(decoded.pixels, window_to_uint8(middle, window))
        assert not decoded.is_blank
        assert decoded.pixels.std() > 30


def test_the_uncompressed_dicom_slices_decode_and_stack_around_their_segmentation_object():
    volume = read_dicom_series(SCANS / "dcmqi_liver")
    assert volume.values.shape == (3, 512, 512)
    assert [path.name for path in volume.source_files] == ["03.dcm", "02.dcm", "01.dcm"]
    assert volume.spacing_zyx_mm == pytest.approx((1.0, 0.810547, 0.810547))
    decoded = decode_image((SCANS / "dcmqi_liver" / "01.dcm").read_bytes())
    # A body in air: corners black, the middle soft tissue.
    assert decoded.pixels[:20, :20].max() < 10
    assert 60 < np.median(decoded.pixels[200:300, 150:350]) < 220
