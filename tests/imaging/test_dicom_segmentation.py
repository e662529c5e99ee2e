"""DICOM-SEG objects: read back by pydicom and highdicom, checked by dicom3tools."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from imaging_scans import SCANS, needs_scans

from constructed_scans import (
    HU_OF_ORGAN,
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
from organseg.errors import ImageError, NothingSegmentedError
from organseg.imaging.dicom_segmentation import write_dicom_segmentation
from organseg.imaging.label_volume import LabelVolume
from organseg.imaging.organ_codes import ORGAN_CODES
from organseg.imaging.scan import open_scan
from organseg.organs import ORGANS, organ_by_id

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)"
)


def _errors(path) -> list[str]:
    """What dicom3tools holds against an object; warnings are not errors."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert "Segmentation" in lines, "the object was not recognised"
    return [line for line in lines if line.startswith("Error")]


def _write(folder, out, labels=None):
    scan = open_scan(folder)
    labels = labels or known_labels(scan)
    write_dicom_segmentation(out, labels, scan.geometry, scan.source_files)
    return scan, highdicom.seg.segread(out)


def _masks(segmentation, scan):
    """Every segment's mask, bool [slice, row, column] by organ name, over the whole series."""
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in scan.source_files]
    pixels = segmentation.get_pixels_by_source_instance(
        uids,
        assert_missing_frames_are_empty=True,
        # dcmqi's own object does not say that its frames lie where its source slices lie.
        ignore_spatial_locations=True,
    )
    descriptions = segmentation.SegmentSequence
    return {
        item.SegmentLabel: pixels[..., index].astype(bool)
        for index, item in enumerate(descriptions)
    }


@pytest.mark.parametrize("stored_as", range(len(STORED_SLICES)))
def test_masks_lie_on_the_source_slices_however_these_are_stored(stored_as, tmp_path):
    write_series(tmp_path / "series", stored_as)
    scan, segmentation = _write(tmp_path / "series", tmp_path / "seg.dcm")
    _, turn = STORED_SLICES[stored_as]
    stored = np.stack([turn(shown) for shown in labels_of(display_values())])
    masks = _masks(segmentation, scan)
    assert list(masks) == [organ_by_id(organ_id).name for organ_id in HU_OF_ORGAN]
    for organ_id in HU_OF_ORGAN:
        assert np.array_equal(masks[organ_by_id(organ_id).name], stored == organ_id)


@pytest.mark.parametrize("stored_as", [0, 1, 6])
def test_frames_say_where_they_lie_and_what_they_come_from(stored_as, tmp_path):
    write_series(tmp_path / "series", stored_as)
    _write(tmp_path / "series", tmp_path / "seg.dcm")
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    sources = {
        one.SOPInstanceUID: one for one in map(pydicom.dcmread, (tmp_path / "series").iterdir())
    }
    (shared,) = written.SharedFunctionalGroupsSequence
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert orientation == STORED_SLICES[stored_as][0]
    assert shared.PixelMeasuresSequence[0].SpacingBetweenSlices == 5
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.7, 0.9]
    frames = written.PerFrameFunctionalGroupsSequence
    assert len(frames) == written.NumberOfFrames == 4 + 3 + 6 + 3
    for frame in frames:
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        source = sources[reference.ReferencedSOPInstanceUID]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
    (series,) = written.ReferencedSeriesSequence
    some = next(iter(sources.values()))
    assert series.SeriesInstanceUID == some.SeriesInstanceUID
    assert written.StudyInstanceUID == some.StudyInstanceUID
    assert written.FrameOfReferenceUID == some.FrameOfReferenceUID
    assert (written.PatientID, written.PatientName) == (some.PatientID, some.PatientName)
    assert written.SeriesInstanceUID != some.SeriesInstanceUID
    assert written.SegmentationType == "BINARY"


def test_segments_are_coded_named_and_coloured(tmp_path):
    write_series(tmp_path / "series")
    _, segmentation = _write(tmp_path / "series", tmp_path / "seg.dcm")
    for item, organ_id in zip(segmentation.SegmentSequence, HU_OF_ORGAN, strict=True):
        organ, code = organ_by_id(organ_id), ORGAN_CODES[organ_id]
        (kind,) = item.SegmentedPropertyTypeCodeSequence
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (code.structure.value, "SCT")
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence") or []
        assert [side.CodeMeaning for side in sides] == (
            [organ.name.split()[0].capitalize()] if code.side else []
        )
        colour = highdicom.color.CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue)
        assert np.abs(np.subtract(colour.to_rgb(), organ.color_rgb)).max() <= 1
        assert item.SegmentAlgorithmType == "AUTOMATIC"


def test_every_organ_has_the_code_that_dicom_has_for_it():
    from pydicom.sr.codedict import codes

    assert set(ORGAN_CODES) == {organ.id for organ in ORGANS}
    sides = {"right": codes.SCT.Right, "left": codes.SCT.Left}
    for organ in ORGANS:
        code = ORGAN_CODES[organ.id]
        side, _, name = organ.name.partition(" ")
        if side not in sides:
            name = organ.name
            assert code.side is None
        else:
            assert code.side is not None
            assert code.side.value == sides[side].value
        keyword = "".join(word.capitalize() for word in name.split())
        expected = getattr(codes.SCT, keyword)
        assert (code.structure.value, code.structure.meaning) == (expected.value, expected.meaning)


def test_organs_that_overlap_keep_their_own_masks(tmp_path):
    write_series(tmp_path / "series", stored_as=4)
    scan = open_scan(tmp_path / "series")
    labels = LabelVolume(scan.geometry.shape_zhw)
    masks = np.zeros((2, 10, 12), dtype=bool)
    masks[0, 2:8, 1:7] = True
    masks[1, 5:9, 5:9] = True
    for index in (2, 3, 6):
        labels.write_slice(index, masks, [LIVER, RIGHT_KIDNEY])
    scan, segmentation = _write(tmp_path / "series", tmp_path / "seg.dcm", labels)
    assert segmentation.SegmentsOverlap == "YES"
    read = _masks(segmentation, scan)
    for name, mask in zip(("liver", "right kidney"), masks, strict=True):
        for index in range(9):
            expected = mask if index in (2, 3, 6) else np.zeros_like(mask)
            assert np.array_equal(read[name][index], expected.T)


@needs_dciodvfy
@pytest.mark.parametrize("organs", [(LIVER,), (LEFT_KIDNEY, RIGHT_KIDNEY), tuple(HU_OF_ORGAN)])
def test_dicom3tools_finds_no_error(organs, tmp_path):
    write_series(tmp_path / "series")
    scan = open_scan(tmp_path / "series")
    labels = LabelVolume(scan.geometry.shape_zhw)
    for index in range(9):
        shown = labels_of(scan.slice_at(index))
        labels.write_slice(index, np.stack([shown == organ for organ in organs]), organs)
    _write(tmp_path / "series", tmp_path / "seg.dcm", labels)
    assert _errors(tmp_path / "seg.dcm") == []


@needs_dciodvfy
def test_overlapping_organs_and_one_slice_alone_have_no_error_either(tmp_path):
    write_series(tmp_path / "series", stored_as=7)
    scan = open_scan(tmp_path / "series")
    for name, indices in (("several", (1, 2, 5)), ("one", (4,))):
        labels = LabelVolume(scan.geometry.shape_zhw)
        for index in indices:
            labels.write_slice(index, np.ones((2, 10, 12), dtype=bool), [LIVER, RIGHT_KIDNEY])
        _write(tmp_path / "series", tmp_path / f"{name}.dcm", labels)
        assert _errors(tmp_path / f"{name}.dcm") == []


def test_an_answer_without_an_organ_gives_a_reason_not_an_empty_object(tmp_path):
    write_series(tmp_path / "series")
    scan = open_scan(tmp_path / "series")
    labels = LabelVolume(scan.geometry.shape_zhw)
    with pytest.raises(NothingSegmentedError, match=r"no organ was segmented.*verdicts"):
        write_dicom_segmentation(tmp_path / "seg.dcm", labels, scan.geometry, scan.source_files)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_nifti_has_no_instances_to_refer_to(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    array, affine = as_file(display_values(), *ORIENTATIONS[0])
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
    with pytest.raises(ImageError, match=r"wanted a DICOM series .* write NIfTI instead"):
        _write(tmp_path / "scan.nii", tmp_path / "seg.dcm")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_without_identifiers_is_refused_by_their_names(keyword, tmp_path):
    write_series(tmp_path / "series", **{keyword: ""})
    with pytest.raises(ImageError, match=f"without {keyword}"):
        _write(tmp_path / "series", tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_identifiers_that_only_the_files_own_header_has_are_used(tmp_path):
    write_series(tmp_path / "series", SOPInstanceUID="", SOPClassUID="")
    _write(tmp_path / "series", tmp_path / "seg.dcm")
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    reference = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    source = pydicom.dcmread(tmp_path / "series" / "0.dcm")
    assert reference.ReferencedSOPInstanceUID == source.file_meta.MediaStorageSOPInstanceUID
    assert reference.ReferencedSOPClassUID == source.file_meta.MediaStorageSOPClassUID


def test_a_series_that_has_gone_is_said(tmp_path):
    write_series(tmp_path / "series")
    scan = open_scan(tmp_path / "series")
    labels = known_labels(scan)
    shutil.rmtree(tmp_path / "series")
    with pytest.raises(ImageError, match="keep the series where it is"):
        write_dicom_segmentation(tmp_path / "seg.dcm", labels, scan.geometry, scan.source_files)


def test_text_of_another_character_set_is_written_as_unicode(tmp_path):
    write_series(
        tmp_path / "series",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="M\u00fcller^J\u00f6rg",
    )
    _write(tmp_path / "series", tmp_path / "seg.dcm")
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    assert written.PatientName == "M\u00fcller^J\u00f6rg"
    assert written.SpecificCharacterSet == "ISO_IR 192"


@needs_scans
def test_the_liver_of_a_real_series_is_where_its_own_segmentation_has_it(tmp_path):
    folder = SCANS / "dcmqi_liver"
    scan = open_scan(folder)
    theirs = _masks(highdicom.seg.segread(folder / "liver.dcm"), scan)["Liver"]
    labels = LabelVolume(scan.geometry.shape_zhw)
    for index, mask in enumerate(scan.geometry.axis_order.apply(theirs)):
        labels.write_slice(index, mask[np.newaxis], [LIVER])
    _, segmentation = _write(folder, tmp_path / "seg.dcm", labels)
    assert np.array_equal(_masks(segmentation, scan)["liver"], theirs)
    if shutil.which("dciodvfy"):
        assert _errors(tmp_path / "seg.dcm") == []


@needs_scans
def test_a_real_series_without_identifiers_says_so():
    scan = open_scan(SCANS / "ts_dicom" / "dicom")
    labels = LabelVolume(scan.geometry.shape_zhw)
    labels.write_slice(3, np.ones((1, 512, 512), dtype=bool), [LIVER])
    with pytest.raises(ImageError, match="StudyInstanceUID"):
        write_dicom_segmentation("never.dcm", labels, scan.geometry, scan.source_files)
