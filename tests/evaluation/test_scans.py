from __future__ import annotations

import nibabel
import numpy as np
import pytest

from organseg.data.splits import Split, split_of
from organseg.errors import DatasetError
from organseg.evaluation.labelled_pairs import LabelCoverage
from organseg.evaluation.scans import SHARED_FOLDER, ScanOptions, open_data
from organseg.imaging.windowing import Modality
from organseg.organs import ORGANS

SMALL = ScanOptions(phantom_slices=6, phantom_size=64)


def write_nifti(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 5.0, 1.0]))
    image.set_sform(image.affine, 1)
    nibabel.save(image, path)
    return path


@pytest.fixture
def pair(tmp_path):
    """A scan with liver (id 1) and aorta (id 5), soft tissue of 40 HU in air."""
    labels = np.zeros((16, 12, 4), dtype=np.uint8)
    labels[2:6, 3:8, 1:3] = 1
    labels[9:11, 5:7, :] = 5
    values = np.where(labels > 0, 40, -1000).astype(np.int16)
    image = write_nifti(tmp_path / "images" / "case_0001_0000.nii.gz", values)
    return image, write_nifti(tmp_path / "labels" / "case_0001.nii.gz", labels)


def shared(name):
    if not (SHARED_FOLDER / name).is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    return open_data([f"shared:{name}"])[0].load()


def test_seeds_are_ranges_and_lists_and_each_is_a_patient():
    scans = open_data(["phantom:7,9-11", "phantom:3:mr"])
    assert [scan.patient_id for scan in scans] == [f"phantom-{seed}" for seed in (7, 9, 10, 11, 3)]


@pytest.mark.parametrize("modality", ["ct", "mr", "random"])
def test_a_phantom_is_windowed_and_labelled_and_the_same_each_time(modality):
    (scan,) = open_data([f"phantom:1001:{modality}"], SMALL)
    volume = scan.load()
    assert volume.patient_id == scan.patient_id
    assert volume.pixels.shape == volume.labels.shape == (6, 64, 64)
    assert volume.pixels.dtype == np.uint8
    assert np.ptp(volume.pixels) > 200
    assert len(np.unique(volume.labels)) > 5
    assert volume.labelled_organ_ids == {organ.id for organ in ORGANS}
    assert (volume.pixels == scan.load().pixels).all()


def test_a_phantoms_ct_and_mr_share_their_labels_but_not_their_pixels():
    ct, mr = (open_data([f"phantom:1001:{name}"], SMALL)[0].load() for name in ("ct", "mr"))
    assert (ct.labels == mr.labels).all()
    assert (ct.pixels != mr.pixels).mean() > 0.2


@pytest.mark.parametrize(
    "name",
    [
        "phantom",
        "phantom:",
        "phantom:one",
        "phantom:5-3",
        "phantom:1-3:xray",
        "phantom:0-99999",
        "flare22:nowhere",
        "scan:nowhere.nii.gz",
        "scan:nowhere.nii.gz,labels.nii.gz",
        "shared:nothing_of_that_name",
        "dicom:folder",
    ],
)
def test_data_that_is_not_there_is_refused_with_what_was_wanted(name):
    with pytest.raises(DatasetError, match=r"^wanted .*, (got|found) .*: .*"):
        open_data([name])


def test_a_patient_may_come_once_only():
    with pytest.raises(DatasetError, match="phantom-8 twice"):
        open_data(["phantom:7-8", "phantom:8:mr"])


def test_one_scan_is_read_in_display_orientation(pair):
    image, labels = pair
    (scan,) = open_data([f"scan:{image},{labels}"])
    volume = scan.load()
    assert volume.patient_id == "case_0001_0000"
    assert volume.labels.shape == (4, 12, 16)
    assert volume.spacing_zyx_mm == (5.0, 2.0, 2.0)
    # Dark air says that it is CT: 40 HU in a window from -160 to 240.
    assert volume.pixels[1][volume.labels[1] == 1].tolist() == [128] * 20


def test_labels_may_be_trusted_for_the_found_organs_only(pair):
    image, labels = pair
    name = f"scan:{image},{labels}"
    found = ScanOptions(coverage=LabelCoverage.FOUND)
    assert open_data([name], found)[0].load().labelled_organ_ids == {1, 5}
    assert len(open_data([name])[0].load().labelled_organ_ids) == 13


def test_a_dataset_folder_gives_the_patients_of_one_split(pair, tmp_path):
    name = f"flare22:{tmp_path}"
    everyone = open_data([name], ScanOptions(split=None))
    assert [scan.patient_id for scan in everyone] == ["case_0001"]
    assert everyone[0].load().labels.any()
    own = split_of("case_0001")
    assert len(open_data([name], ScanOptions(split=own))) == 1
    for split in set(Split) - {own}:
        with pytest.raises(DatasetError, match="--split all"):
            open_data([name], ScanOptions(split=split))


def test_modality_decides_the_window(pair):
    image, labels = pair
    as_mr = open_data([f"scan:{image},{labels}"], ScanOptions(modality=Modality.MR))[0].load()
    assert as_mr.pixels[1][as_mr.labels[1] == 1].tolist() == [255] * 20


@pytest.mark.parametrize(
    ("name", "missing"), [("ts_ct", {10}), ("ts_mr", {10}), ("ts_dicom", {2, 8, 9, 10, 12, 13})]
)
def test_shared_scans_are_not_asked_for_organs_without_labels(name, missing):
    volume = shared(name)
    assert volume.labelled_organ_ids == {organ.id for organ in ORGANS} - missing


@pytest.mark.parametrize("name", ["ts_ct", "ts_mr"])
def test_the_right_kidney_lies_on_the_pictures_left(name):
    volume = shared(name)
    columns = {organ_id: np.nonzero(volume.labels == organ_id)[2].mean() for organ_id in (2, 13)}
    assert columns[2] < columns[13]


def test_a_dicom_series_meets_its_labels():
    volume = shared("ts_dicom")
    columns = {organ_id: np.nonzero(volume.labels == organ_id)[2].mean() for organ_id in (1, 3)}
    assert columns[1] < columns[3]
    # Labels that were flipped against the series would lie in air or fat.
    for organ_id in (1, 3, 5):
        inside = volume.pixels[volume.labels == organ_id]
        assert np.median(inside) > 110


def test_labels_of_another_scan_are_refused():
    series = SHARED_FOLDER / "ts_dicom" / "dicom"
    labels = SHARED_FOLDER / "ts_ct" / "seg_flare22.nii.gz"
    if not series.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    with pytest.raises(DatasetError, match="own grid"):
        open_data([f"scan:{series},{labels}"])[0].load()


def test_labels_that_were_moved_against_a_series_are_refused(tmp_path):
    series = SHARED_FOLDER / "ts_dicom"
    if not series.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    original = nibabel.load(series / "seg_flare22.nii.gz")
    affine = original.affine.copy()
    affine[0, 3] += 3.0
    moved = nibabel.Nifti1Image(np.asanyarray(original.dataobj), affine)
    nibabel.save(moved, tmp_path / "moved.nii.gz")
    with pytest.raises(DatasetError, match=r"3\.00 mm apart"):
        open_data([f"scan:{series / 'dicom'},{tmp_path / 'moved.nii.gz'}"])[0].load()


def test_a_ct_without_negative_values_is_refused_and_the_option_named(pair, tmp_path):
    image, _ = pair
    values = np.asanyarray(nibabel.load(image).dataobj) + 1000
    write_nifti(image, values.astype(np.int16))
    name = f"flare22:{tmp_path}"
    with pytest.raises(DatasetError, match="--modality"):
        open_data([name], ScanOptions(split=None))[0].load()
    as_mr = ScanOptions(split=None, modality=Modality.MR)
    assert open_data([name], as_mr)[0].load().labels.any()


def test_the_label_map_of_mr_needs_no_modality(pair, tmp_path):
    image, _ = pair
    values = np.asanyarray(nibabel.load(image).dataobj) + 1000
    write_nifti(image, values.astype(np.int16))
    options = ScanOptions(split=None, label_map="totalsegmentator_mr")
    (volume,) = (scan.load() for scan in open_data([f"flare22:{tmp_path}"], options))
    # 1 and 5 are spleen and liver there.
    assert set(np.unique(volume.labels)) == {0, 3, 1}


def test_phantoms_of_the_training_range_are_marked():
    scans = open_data(["phantom:9999-10000"])
    assert [scan.may_be_trained_on for scan in scans] == [False, True]
