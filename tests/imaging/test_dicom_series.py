from __future__ import annotations

import re

import numpy as np
import pytest

from hostile.images import dicom
from organseg.errors import ImageError
from organseg.imaging.volumes import Volume, read_dicom_series
from organseg.imaging.windowing import Modality

pytest.importorskip("pydicom")

# Not in the order of space, nor of its reverse.
NAMES = ["c.dcm", "a.dcm", "e.dcm", "b.dcm", "d.dcm"]


def _display_values() -> np.ndarray:
    return np.arange(5 * 10 * 12, dtype=np.int16).reshape(5, 10, 12)


def _write_series(folder, *, turn=lambda shown: shown, cosines=(1, 0, 0, 0, 1, 0), **elements):
    """Five slices, 2.5 mm apart; index 0 is nearest to the feet."""
    for index, (name, shown) in enumerate(zip(NAMES, _display_values(), strict=True)):
        stored = np.ascontiguousarray(turn(shown))
        settings = {
            "ImageOrientationPatient": list(cosines),
            "ImagePositionPatient": [-100, -50, 300 + 2.5 * index],
            "PixelSpacing": [0.7, 0.9],
            **elements,
        }
        (folder / name).write_bytes(dicom(stored, **settings))


def _rewrite(folder, name, **elements) -> None:
    index = NAMES.index(name)
    settings = {
        "ImagePositionPatient": [-100, -50, 300 + 2.5 * index],
        "PixelSpacing": [0.7, 0.9],
        **elements,
    }
    (folder / name).write_bytes(dicom(_display_values()[index], **settings))


def test_slices_are_sorted_by_place_from_feet_to_head_not_by_name(tmp_path):
    _write_series(tmp_path)
    volume = read_dicom_series(tmp_path)
    assert np.array_equal(volume.values, _display_values())
    assert [path.name for path in volume.source_files] == NAMES
    assert volume.spacing_zyx_mm == pytest.approx((2.5, 0.7, 0.9))
    assert volume.modality is Modality.CT


@pytest.mark.parametrize(
    ("cosines", "turn"),
    [
        ([1, 0, 0, 0, 1, 0], lambda shown: shown),
        ([1, 0, 0, 0, -1, 0], lambda shown: shown[::-1]),
        ([-1, 0, 0, 0, 1, 0], lambda shown: shown[:, ::-1]),
        ([-1, 0, 0, 0, -1, 0], lambda shown: shown[::-1, ::-1]),
        ([0, 1, 0, 1, 0, 0], lambda shown: shown.T),
        ([0, -1, 0, -1, 0, 0], lambda shown: shown[::-1, ::-1].T),
        ([0, 1, 0, -1, 0, 0], lambda shown: shown[:, ::-1].T),
        ([0, -1, 0, 1, 0, 0], lambda shown: shown[::-1].T),
    ],
)
def test_every_way_of_storing_a_slice_shows_alike_and_goes_back(cosines, turn, tmp_path):
    _write_series(tmp_path, turn=turn, cosines=cosines)
    volume = read_dicom_series(tmp_path)
    assert np.array_equal(volume.values, _display_values())
    stored = np.stack([turn(shown) for shown in _display_values()])
    assert np.array_equal(volume.restore(volume.values), stored)


def _place_mm(volume: Volume, index: list[int]) -> np.ndarray:
    return (volume.affine @ [*index, 1])[:3]


def test_the_affine_leads_from_stored_indices_to_the_patients_frame(tmp_path):
    _write_series(tmp_path)
    volume = read_dicom_series(tmp_path)
    # RAS+: the DICOM position with its first two signs turned.
    assert _place_mm(volume, [0, 0, 0]) == pytest.approx([100, 50, 300])
    assert _place_mm(volume, [4, 0, 0]) == pytest.approx([100, 50, 310])
    assert _place_mm(volume, [0, 3, 0]) == pytest.approx([100, 50 - 3 * 0.7, 300])
    assert _place_mm(volume, [0, 0, 5]) == pytest.approx([100 - 5 * 0.9, 50, 300])


def test_values_are_rescaled_and_fractions_kept(tmp_path):
    _write_series(tmp_path, RescaleSlope=0.5, RescaleIntercept=-100)
    volume = read_dicom_series(tmp_path)
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, _display_values() * 0.5 - 100)


def test_files_that_are_no_images_are_passed_over(tmp_path):
    _write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("liver, three phases")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "report.dcm").write_bytes(dicom(_display_values()[0], drop=("PixelData",)))
    (tmp_path / "seg.dcm").write_bytes(dicom(_display_values()[0], Modality="SEG"))
    (tmp_path / "folder").mkdir()
    assert np.array_equal(read_dicom_series(tmp_path).values, _display_values())


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "2 series mixed"),
        ({"ImagePositionPatient": [-100, -50, 300]}, "two at the same"),
        ({"ImagePositionPatient": [-100, -50, 999]}, "a slice is missing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "wanted an axial slice"),
        ({"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]}, "slices differ"),
        ({"PixelSpacing": [1.0, 1.0]}, "slices differ"),
        ({"PixelSpacing": [0, 0.9]}, "positive PixelSpacing"),
        ({"Modality": "MR"}, "slices differ"),
        ({"drop": ("ImagePositionPatient",)}, "ImagePositionPatient"),
        ({"drop": ("PixelSpacing",)}, "PixelSpacing"),
        ({"drop": ("ImageOrientationPatient",)}, "ImageOrientationPatient"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"Rows": 11}, "slices differ"),
    ],
)
def test_a_slice_that_does_not_belong_is_refused(elements, words, tmp_path):
    _write_series(tmp_path)
    _rewrite(tmp_path, "b.dcm", **elements)
    with pytest.raises(ImageError, match=words) as caught:
        read_dicom_series(tmp_path)
    assert re.match(r"^wanted .+, came .+; .+", str(caught.value))


def test_a_missing_slice_is_noticed(tmp_path):
    _write_series(tmp_path)
    (tmp_path / "e.dcm").unlink()
    with pytest.raises(ImageError, match="a slice is missing"):
        read_dicom_series(tmp_path)


def test_a_dark_is_high_mr_series_is_refused(tmp_path):
    _write_series(tmp_path, Modality="MR", PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(ImageError, match="MONOCHROME1"):
        read_dicom_series(tmp_path)


def test_a_truncated_slice_is_refused(tmp_path):
    _write_series(tmp_path)
    whole = (tmp_path / "b.dcm").read_bytes()
    (tmp_path / "b.dcm").write_bytes(whole[:-100])
    with pytest.raises(ImageError, match="truncated"):
        read_dicom_series(tmp_path)


def test_no_folder_no_slices_and_one_slice_are_each_refused(tmp_path):
    with pytest.raises(ImageError, match="which is no folder"):
        read_dicom_series(tmp_path / "missing")
    with pytest.raises(ImageError, match="none is a DICOM image"):
        read_dicom_series(tmp_path)
    (tmp_path / "one.dcm").write_bytes(dicom(_display_values()[0]))
    with pytest.raises(ImageError, match="at least two slices"):
        read_dicom_series(tmp_path)


def _write_placed(folder, place_mm) -> None:
    """Five slices, each where `place_mm` of its index says."""
    for index, (name, shown) in enumerate(zip(NAMES, _display_values(), strict=True)):
        settings = {
            "ImagePositionPatient": [-100.0, *place_mm(index)],
            "PixelSpacing": [0.7, 0.9],
        }
        (folder / name).write_bytes(dicom(shown, **settings))


@pytest.mark.parametrize("degrees", [1.0, 12.0, -20.0])
def test_a_tilted_gantry_is_noticed_by_the_slices_places(degrees, tmp_path):
    slide = 2.5 * np.tan(np.radians(degrees))
    _write_placed(tmp_path, lambda index: [-50 + slide * index, 300 + 2.5 * index])
    with pytest.raises(ImageError, match=rf"tilted by {abs(degrees):.1f} degrees \(gantry tilt\)"):
        read_dicom_series(tmp_path)


def test_places_that_are_rounded_are_no_tilt(tmp_path):
    _write_placed(tmp_path, lambda index: [-50 + 0.01 * (index % 2), 300 + 2.5 * index])
    assert np.array_equal(read_dicom_series(tmp_path).values, _display_values())


def test_an_oblique_stack_is_no_tilt(tmp_path):
    angle = np.radians(15)
    for index, (name, shown) in enumerate(zip(NAMES, _display_values(), strict=True)):
        normal = np.array([0, -np.sin(angle), np.cos(angle)])
        settings = {
            "ImageOrientationPatient": [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))],
            "ImagePositionPatient": [float(each) for each in 2.5 * index * normal],
            "PixelSpacing": [0.7, 0.9],
        }
        (tmp_path / name).write_bytes(dicom(shown, **settings))
    volume = read_dicom_series(tmp_path)
    assert np.array_equal(volume.values, _display_values())
    assert volume.spacing_zyx_mm == pytest.approx((2.5, 0.7, 0.9))


def test_a_slice_that_is_shifted_sideways_is_noticed(tmp_path):
    _write_placed(tmp_path, lambda index: [-50 + 3.0 * (index == 2), 300 + 2.5 * index])
    with pytest.raises(ImageError, match="shifted sideways"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize("modality", ["US", "XA", "DX", "PT", "NM"])
def test_another_modality_is_named(modality, tmp_path):
    _write_series(tmp_path, Modality=modality)
    with pytest.raises(ImageError, match=f"wanted a series of CT or MR, .* modality {modality};"):
        read_dicom_series(tmp_path)


def test_an_ultrasound_clip_is_refused_for_what_it_is(tmp_path):
    drop = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    clip = dicom(_display_values()[0], Modality="US", NumberOfFrames=2, drop=drop)
    (tmp_path / "clip.dcm").write_bytes(clip)
    with pytest.raises(ImageError, match="modality US"):
        read_dicom_series(tmp_path)


def test_what_is_no_code_of_a_modality_is_not_repeated(tmp_path):
    _write_series(tmp_path, Modality="DOE JANE")
    with pytest.raises(ImageError, match="modality another one") as caught:
        read_dicom_series(tmp_path)
    assert "JANE" not in str(caught.value)
