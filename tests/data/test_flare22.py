from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from organseg.data.flare22 import (
    LabelledVolume,
    ScanFiles,
    SliceReference,
    choose_slices,
    find_scans,
    load_scan,
    slices_of_organs,
)
from organseg.errors import DatasetError
from organseg.imaging.windowing import Modality
from organseg.organs import LABEL_MAPS, ORGANS, organ_by_name

nibabel = pytest.importorskip("nibabel")

SCANS = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SIZE_XYZ = (12, 10, 14)
LIVER, RIGHT_KIDNEY, SPLEEN, LEFT_KIDNEY = (
    organ_by_name(name).id for name in ("liver", "right kidney", "spleen", "left kidney")
)
# RAS+ axes with spacing 2 × 3 × 5 mm, away from the origin.
AFFINE = np.array([[2.0, 0, 0, -30], [0, 3, 0, 7], [0, 0, 5, 100], [0, 0, 0, 1]])


def scan_arrays():
    """(x, y, z) in RAS+: liver to the patient's right, front and low; spleen left, back, high."""
    image = np.full(SIZE_XYZ, -1000, dtype=np.int16)
    labels = np.zeros(SIZE_XYZ, dtype=np.uint8)
    labels[8:11, 6:9, 1:5] = LIVER
    labels[1:3, 1:4, 9:12] = SPLEEN
    image[labels == LIVER] = 40
    image[labels == SPLEEN] = 240
    return image, labels


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def write_scan(folder, case="FLARE22_Tr_0001", image=None, labels=None, label_affine=AFFINE):
    default_image, default_labels = scan_arrays()
    save(folder / "images" / f"{case}_0000.nii.gz", default_image if image is None else image)
    save(
        folder / "labels" / f"{case}.nii.gz",
        default_labels if labels is None else labels,
        label_affine,
    )


def load_only(folder, **options):
    (files,) = find_scans(folder)
    return load_scan(files, **options)


def test_the_published_layout_is_read_by_patient(tmp_path):
    for number in (2, 1, 3):
        write_scan(tmp_path, f"FLARE22_Tr_{number:04d}")
    (tmp_path / "images" / "._FLARE22_Tr_0001_0000.nii.gz").write_bytes(b"file manager")
    (tmp_path / "images" / "readme.txt").write_text("not a scan")
    scans = find_scans(tmp_path)
    assert [scan.patient_id for scan in scans] == [f"FLARE22_Tr_{n:04d}" for n in (1, 2, 3)]
    assert scans[0].image.name == "FLARE22_Tr_0001_0000.nii.gz"
    assert scans[0].labels.name == "FLARE22_Tr_0001.nii.gz"


def test_a_scan_comes_in_display_orientation(tmp_path):
    write_scan(tmp_path)
    volume = load_only(tmp_path)
    assert volume.labels.shape == volume.pixels.shape == (14, 10, 12)
    assert volume.spacing_zyx_mm == (5.0, 3.0, 2.0)
    # z from the feet; rows down to posterior (y mirrored); columns to the patient's left (x too).
    expected = np.zeros((14, 10, 12), dtype=np.uint8)
    expected[1:5, 1:4, 1:4] = LIVER
    expected[9:12, 6:9, 9:11] = SPLEEN
    assert (volume.labels == expected).all()


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PIR", "ASL"])
def test_the_stored_orientation_does_not_matter(tmp_path, codes):
    reference = tmp_path / "reference"
    write_scan(reference)
    expected = load_only(reference)
    orientation = nibabel.orientations
    change = orientation.ornt_transform(
        orientation.axcodes2ornt("RAS"), orientation.axcodes2ornt(codes)
    )
    for part, ending, array in zip(
        ("images", "labels"), ("_0000.nii.gz", ".nii.gz"), scan_arrays(), strict=True
    ):
        image = nibabel.Nifti1Image(array, AFFINE).as_reoriented(change)
        path = tmp_path / "other" / part / f"FLARE22_Tr_0001{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)
    volume = load_only(tmp_path / "other")
    assert (volume.labels == expected.labels).all()
    assert (volume.pixels == expected.pixels).all()
    assert volume.spacing_zyx_mm == expected.spacing_zyx_mm


def test_ct_is_clipped_to_medsams_window_and_not_padded(tmp_path):
    write_scan(tmp_path)
    volume = load_only(tmp_path)
    assert set(np.unique(volume.pixels)) == {0, 255, round(200 / 400 * 255)}
    assert (volume.pixels[volume.labels == SPLEEN] == 255).all()


def test_other_modalities_use_one_percentile_window_for_the_volume(tmp_path):
    ramp = np.broadcast_to(np.arange(14, dtype=np.int16) * 100, SIZE_XYZ)
    write_scan(tmp_path, image=np.ascontiguousarray(ramp))
    volume = load_only(tmp_path, modality=Modality.MR)
    levels = volume.pixels[:, 0, 0].astype(int)
    assert levels[0] == 0
    assert levels[-1] == 255
    # One window: brightness still rises from slice to slice.
    assert (np.diff(levels[1:]) > 0).all()


@pytest.mark.parametrize("name", ["amos22", "totalsegmentator_v2", "totalsegmentator_mr"])
def test_other_datasets_labels_become_organ_ids(tmp_path, name):
    label_map = LABEL_MAPS[name]
    labels = np.zeros(SIZE_XYZ, dtype=np.uint8)
    for place, value in enumerate(label_map):
        labels[place % 12, place // 12, 3] = value
    labels[0, 9, 3] = next(value for value in range(1, 60) if value not in label_map)
    write_scan(tmp_path, labels=labels)
    volume = load_only(tmp_path, label_map=name)
    assert sorted(volume.labels[volume.labels > 0]) == sorted(label_map.values())
    assert volume.labelled_organ_ids == {organ.id for organ in ORGANS}


def test_the_labels_can_be_trusted_for_some_organs_only(tmp_path):
    write_scan(tmp_path)
    volume = load_only(tmp_path, labelled_organ_ids=frozenset({LIVER}))
    assert volume.labelled_organ_ids == {LIVER}
    assert set(slices_of_organs([volume])) == {LIVER}


# Every way a dataset folder can be wrong: what is done to it, and what the message must name.


def drop_images(folder):
    for path in (folder / "images").iterdir():
        path.unlink()
    (folder / "images").rmdir()


def drop_labels(folder):
    for path in (folder / "labels").iterdir():
        path.unlink()
    (folder / "labels").rmdir()


def empty_images(folder):
    drop_images(folder)
    (folder / "images").mkdir()


def image_without_labels(folder):
    image, _ = scan_arrays()
    save(folder / "images" / "FLARE22_Tr_0002_0000.nii.gz", image)


def labels_without_image(folder):
    _, labels = scan_arrays()
    save(folder / "labels" / "FLARE22_Tr_0003.nii.gz", labels)


def image_without_channel(folder):
    path = folder / "images" / "FLARE22_Tr_0001_0000.nii.gz"
    path.rename(path.with_name("FLARE22_Tr_0001.nii.gz"))


def labels_with_channel(folder):
    path = folder / "labels" / "FLARE22_Tr_0001.nii.gz"
    path.rename(path.with_name("FLARE22_Tr_0001_0000.nii.gz"))


def unpacked_labels(folder):
    _, labels = scan_arrays()
    (folder / "labels" / "FLARE22_Tr_0001.nii.gz").unlink()
    save(folder / "labels" / "FLARE22_Tr_0001.nii", labels)


@pytest.mark.parametrize(
    ("spoil", "named", "remedy"),
    [
        (drop_images, "no images/", "Name the folder"),
        (drop_labels, "no labels/", "Name the folder"),
        (empty_images, "images/ holds none", "Unpack"),
        (image_without_labels, "FLARE22_Tr_0002", "Add labels/FLARE22_Tr_0002.nii.gz"),
        (labels_without_image, "FLARE22_Tr_0003", "Add images/FLARE22_Tr_0003_0000.nii.gz"),
        (image_without_channel, "images/FLARE22_Tr_0001.nii.gz", "Rename"),
        (labels_with_channel, "labels/FLARE22_Tr_0001_0000.nii.gz", "Rename"),
        (unpacked_labels, "labels/FLARE22_Tr_0001.nii", "Rename"),
    ],
)
def test_a_wrong_layout_is_named_with_its_remedy(tmp_path, spoil, named, remedy):
    write_scan(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DatasetError) as raised:
        find_scans(tmp_path)
    assert named in str(raised.value)
    assert remedy in str(raised.value)


def truncate_image(folder):
    path = folder / "images" / "FLARE22_Tr_0001_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-60])


def truncate_labels(folder):
    path = folder / "labels" / "FLARE22_Tr_0001.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_file(folder):
    (folder / "images" / "FLARE22_Tr_0001_0000.nii.gz").write_bytes(b"")


def text_file(folder):
    path = folder / "labels" / "FLARE22_Tr_0001.nii.gz"
    path.write_bytes(gzip.compress(b"<html>404 not found</html>"))


def other_shape(folder):
    _, labels = scan_arrays()
    write_scan(folder, labels=labels[:, :, :-1])


def mirrored_affine(folder):
    mirrored = AFFINE.copy()
    mirrored[0] = [-2.0, 0, 0, -30 + 2 * 11]
    write_scan(folder, label_affine=mirrored)


def moved_affine(folder):
    moved = AFFINE.copy()
    moved[2, 3] += 5.0
    write_scan(folder, label_affine=moved)


def unknown_label(folder):
    _, labels = scan_arrays()
    labels[0, 0, 0] = 14
    write_scan(folder, labels=labels)


def negative_label(folder):
    _, labels = scan_arrays()
    labels = labels.astype(np.int16)
    labels[0, 0, 0] = -1
    write_scan(folder, labels=labels)


def fractional_labels(folder):
    _, labels = scan_arrays()
    labels = labels.astype(np.float32)
    labels[0, 0, 0] = 1.5
    write_scan(folder, labels=labels)


def background_only(folder):
    write_scan(folder, labels=np.zeros(SIZE_XYZ, dtype=np.uint8))


@pytest.mark.parametrize(
    ("spoil", "named", "remedy"),
    [
        (truncate_image, "images/FLARE22_Tr_0001_0000.nii.gz", "copy it again"),
        (truncate_labels, "labels/FLARE22_Tr_0001.nii.gz", "whole"),
        (empty_file, "images/FLARE22_Tr_0001_0000.nii.gz", "download it again"),
        (text_file, "labels/FLARE22_Tr_0001.nii.gz", "check"),
        (other_shape, "labels/FLARE22_Tr_0001.nii.gz", "nearest"),
        (mirrored_affine, "labels/FLARE22_Tr_0001.nii.gz", "affine"),
        (moved_affine, "5.00 mm apart", "affine"),
        (unknown_label, "[14]", "label map"),
        (negative_label, "[-1]", "label map"),
        (fractional_labels, "labels/FLARE22_Tr_0001.nii.gz", "nearest"),
        (background_only, "labels/FLARE22_Tr_0001.nii.gz", "take the scan out"),
    ],
)
def test_a_wrong_file_is_named_with_its_remedy(tmp_path, spoil, named, remedy):
    write_scan(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DatasetError) as raised:
        load_only(tmp_path)
    assert named in str(raised.value)
    assert remedy in str(raised.value)


def test_headers_that_differ_by_rounding_are_one_grid(tmp_path):
    nearly = AFFINE.copy()
    nearly[:3] += 1e-4
    write_scan(tmp_path, label_affine=nearly)
    assert load_only(tmp_path).labels.any()


def test_an_unknown_label_map_is_refused_with_the_known_ones(tmp_path):
    write_scan(tmp_path)
    with pytest.raises(DatasetError, match=r"amos22.*'btcv'"):
        load_only(tmp_path, label_map="btcv")


def volume_of(patient_id, slices):
    labels = np.zeros((slices, 4, 4), dtype=np.uint8)
    labels[: slices // 2, 0, 0] = LIVER
    labels[:, 1, 1] = SPLEEN
    return LabelledVolume(
        patient_id, np.zeros_like(labels), labels, (1.0, 1.0, 1.0), frozenset({LIVER, SPLEEN, 5})
    )


def test_slices_are_listed_for_each_organ_that_they_show():
    found = slices_of_organs([volume_of("a", 4), volume_of("b", 2)])
    assert found == {
        LIVER: (SliceReference("a", 0), SliceReference("a", 1), SliceReference("b", 0)),
        SPLEEN: tuple(SliceReference("a", i) for i in range(4))
        + tuple(SliceReference("b", i) for i in range(2)),
        5: (),
    }


def test_the_choice_of_slices_is_bounded_seeded_and_blind_to_their_order():
    slices = [SliceReference(f"p{n % 20:02d}", n // 20) for n in range(1000)]
    chosen = choose_slices({LIVER: slices, SPLEEN: slices[:30]}, limit=100)
    assert len(chosen[LIVER]) == len(set(chosen[LIVER])) == 100
    assert chosen[SPLEEN] == tuple(sorted(slices[:30]))
    assert choose_slices({LIVER: reversed(slices)}, limit=100)[LIVER] == chosen[LIVER]
    assert choose_slices({LIVER: slices}, limit=100, seed=1)[LIVER] != chosen[LIVER]
    # Not the first hundred: all patients and levels have their turn.
    assert len({item.patient_id for item in chosen[LIVER]}) == 20
    more = choose_slices({LIVER: [*slices, SliceReference("new", 0)]}, limit=100)[LIVER]
    assert len(set(more) - set(chosen[LIVER])) <= 1


def real_scan(name, modality):
    folder = SCANS / name
    if not folder.is_dir():
        pytest.skip(f"the shared test scan {name} is not beside this checkout")
    files = ScanFiles(name, folder / "image.nii.gz", folder / "seg_flare22.nii.gz")
    esophagus = organ_by_name("esophagus").id
    labelled = frozenset(organ.id for organ in ORGANS) - {esophagus}
    return load_scan(files, modality=modality, labelled_organ_ids=labelled)


def center_of(volume, organ_id):
    return np.argwhere(volume.labels == organ_id).mean(axis=0)


@pytest.mark.parametrize(("name", "modality"), [("ts_ct", Modality.CT), ("ts_mr", Modality.MR)])
def test_in_real_scans_organs_lie_on_their_sides(name, modality):
    volume = real_scan(name, modality)
    middle = volume.labels.shape[2] / 2
    # Columns run to the patient's left: what is right of the patient is left in the image.
    assert center_of(volume, RIGHT_KIDNEY)[2] < middle < center_of(volume, LEFT_KIDNEY)[2]
    assert center_of(volume, LIVER)[2] < middle < center_of(volume, SPLEEN)[2]
    # Rows run to posterior: the kidneys lie behind the liver.
    assert center_of(volume, RIGHT_KIDNEY)[1] > center_of(volume, LIVER)[1]
    assert volume.spacing_zyx_mm == pytest.approx((3.0, 3.0, 3.0))
    assert set(np.unique(volume.labels)) - {0} == volume.labelled_organ_ids


def test_in_a_real_ct_the_adrenals_lie_above_the_middle_of_the_kidneys():
    volume = real_scan("ts_ct", Modality.CT)
    for adrenal, kidney in (
        ("right adrenal gland", RIGHT_KIDNEY),
        ("left adrenal gland", LEFT_KIDNEY),
    ):
        above = center_of(volume, organ_by_name(adrenal).id)[0]
        assert above > center_of(volume, kidney)[0]
