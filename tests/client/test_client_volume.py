"""`segment_volume` through both clients, on a fake that reads the organs off each slice."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_fakes import OUT_OF_SCOPE, SPLEEN_ABSENT, AsyncCalls, Calls, FakeTransport, Gate

from constructed_scans import (
    AORTA,
    HU_OF_ORGAN,
    LEFT_KIDNEY,
    LIVER,
    ORIENTATIONS,
    RIGHT_KIDNEY,
    SPACING_ZYX_MM,
    as_file,
    display_values,
    labels_of,
    organ_masks,
    write_series,
)
from organseg import errors
from organseg.contract import Verdict
from organseg.imaging.masks import box_of_mask
from organseg_client import (
    ConnectionOptions,
    FailurePolicy,
    InferenceRequest,
    InferenceResponse,
    RetryPolicy,
    VolumeProgress,
    VolumeResult,
    open_scan,
)
from organseg_client.volume.report import COLUMNS

nibabel = pytest.importorskip("nibabel")

QUESTION = "Show me all you know."
ORGANS = tuple(HU_OF_ORGAN)
ONCE = ConnectionOptions(retry=RetryPolicy(attempts=1))
FAULT = errors.ServerFaultError("wanted a result, got 'boom'; read the log")

Open = Callable[..., Calls]


@dataclass
class Oracle(FakeTransport):
    """Answers each slice with the organs that its values show."""

    def answer(self, request: InferenceRequest) -> InferenceResponse:
        response = super().answer(request)
        if self.entries in (OUT_OF_SCOPE, SPLEEN_ABSENT):
            return response
        values = np.load(io.BytesIO(request.inputs["IMAGE"][0, 0]))
        masks = organ_masks(values)
        shown = masks.any(axis=(1, 2))
        verdicts = [Verdict.SEGMENTED if each else Verdict.ABSENT_IN_IMAGE for each in shown]
        outputs = {
            **response.outputs,
            "MASKS": masks[None],
            "ORGANS": np.array([ORGANS], dtype=np.int32),
            "VERDICTS": np.array([[each.value.encode() for each in verdicts]], dtype=object),
            "BOXES": np.stack([box_of_mask(mask) for mask in masks])[None],
            "QUALITY": (shown * 0.5).astype(np.float32)[None],
        }
        return InferenceResponse(outputs=outputs, request_id=response.request_id)


@pytest.fixture(params=[Calls, AsyncCalls], ids=["sync", "async"])
def open_calls(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Makes a client of either kind on one fake."""
    made: list[Calls] = []

    def make(fake: FakeTransport) -> Calls:
        made.append(request.param({"server:8001": fake}, options=ONCE))
        return made[-1]

    yield make
    for calls in made:
        calls.end()


@pytest.fixture
def scan_path(tmp_path: Path) -> Path:
    return write_scan(tmp_path / "scan.nii.gz")


def write_scan(path: Path, orientation: Any = ((2, 1, 0), (True, False, True))) -> Path:
    array, affine = as_file(display_values(), *orientation)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def rows(result: VolumeResult, folder: Path) -> list[dict[str, str]]:
    result.write_csv(folder / "verdicts.csv")
    with (folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        assert tuple(table.fieldnames or ()) == COLUMNS
        return list(table)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7])
def test_a_mask_comes_back_in_the_files_own_voxels(
    orientation: Any, open_calls: Open, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "scan.nii.gz", orientation)
    result = open_calls(Oracle()).call("segment_volume", path, QUESTION)
    assert np.array_equal(result.label_map, labels_of(display_values()))
    result.write_nifti(tmp_path / "labels.nii.gz")
    source, written = nibabel.load(path), nibabel.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asanyarray(written.dataobj), labels_of(np.asanyarray(source.dataobj)))
    assert np.array_equal(written.affine, source.affine)


def test_organs_have_their_volumes_and_slice_ranges(open_calls: Open, scan_path: Path) -> None:
    result = open_calls(Oracle()).call("segment_volume", scan_path, QUESTION)
    labels = labels_of(display_values())
    assert result.verdict is Verdict.SEGMENTED
    assert [organ.id for organ in result.organs] == sorted(ORGANS)
    for organ in result.organs:
        shown = np.flatnonzero((labels == organ.id).any(axis=(1, 2)))
        assert organ.verdict is Verdict.SEGMENTED
        assert organ.voxels == np.count_nonzero(labels == organ.id)
        assert organ.volume_ml == pytest.approx(organ.voxels * np.prod(SPACING_ZYX_MM) / 1000)
        assert organ.slice_range == (shown[0], shown[-1])
        assert organ.slice_count == len(shown)
    assert np.array_equal(result.mask_of("aorta"), labels == AORTA)
    assert np.array_equal(result.mask_of(LIVER), labels == LIVER)
    assert result.reason == "The scan shows the liver, right kidney, aorta and left kidney."
    with pytest.raises(errors.ImageError, match="wanted one of the answer's organs"):
        result.mask_of("spleen")


def test_the_liver_lies_on_the_patients_right(open_calls: Open, scan_path: Path) -> None:
    result = open_calls(Oracle()).call("segment_volume", scan_path, QUESTION)
    columns = {
        organ.id: np.argwhere(result.label_map == organ.id)[:, 2].mean() for organ in result.organs
    }
    # The patient's right is the picture's left.
    assert columns[LIVER] < columns[AORTA] < columns[LEFT_KIDNEY]
    assert columns[RIGHT_KIDNEY] < columns[AORTA]


def test_each_organ_has_a_file_of_its_own(
    open_calls: Open, scan_path: Path, tmp_path: Path
) -> None:
    result = open_calls(Oracle()).call("segment_volume", scan_path, QUESTION)
    paths = result.write_organ_niftis(tmp_path / "organs")
    names = ["liver", "right_kidney", "aorta", "left_kidney"]
    assert [path.name for path in paths] == [f"{name}.nii.gz" for name in names]
    stored = labels_of(np.asanyarray(nibabel.load(scan_path).dataobj))
    for path, organ in zip(paths, sorted(ORGANS), strict=True):
        assert np.array_equal(np.asanyarray(nibabel.load(path).dataobj), stored == organ)


def test_a_series_gets_a_dicom_seg(open_calls: Open, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series", stored_as=3)
    result = open_calls(Oracle()).call("segment_volume", tmp_path / "series", QUESTION)
    result.write_dicom_seg(tmp_path / "seg.dcm")
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert [item.SegmentLabel for item in segmentation.SegmentSequence] == [
        organ.name for organ in result.organs
    ]
    assert segmentation.NumberOfFrames == sum(organ.slice_count for organ in result.organs)


def test_every_slice_is_sent_with_the_same_window(open_calls: Open, scan_path: Path) -> None:
    fake = Oracle()
    calls = open_calls(fake)
    assert calls.call("segment_volume", scan_path, QUESTION).window == (-160, 240)
    result = calls.call("segment_volume", scan_path, QUESTION, window=(-100, 300))
    assert result.window == (-100, 300)
    windows = [tuple(request.inputs["WINDOW"][0]) for request in fake.requests]
    assert windows == [(-160, 240)] * 9 + [(-100, 300)] * 9


def test_progress_is_told_after_each_slice(open_calls: Open, scan_path: Path) -> None:
    told: list[VolumeProgress] = []
    open_calls(Oracle()).call("segment_volume", scan_path, QUESTION, progress=told.append)
    assert told == [VolumeProgress(done, 9, 0) for done in range(1, 10)]


def test_slices_are_asked_side_by_side_and_read_no_earlier(
    open_calls: Open, scan_path: Path
) -> None:
    fake = Oracle(gate=Gate(wanted=3))
    scan = open_scan(scan_path)
    read: list[int] = []

    class Watched:
        """The scan, with a note of which slices were read and how many of them were ahead."""

        geometry, modality, source_files = scan.geometry, scan.modality, scan.source_files
        slices, default_window, close = scan.slices, scan.default_window, scan.close
        ahead = 0

        def slice_at(self, index: int) -> Any:
            read.append(index)
            type(self).ahead = max(self.ahead, len(read) - len(fake.requests))
            return scan.slice_at(index)

    calls = open_calls(fake)
    result = calls.call("segment_volume", Watched(), QUESTION, window=(-160, 240), concurrency=3)
    assert sorted(read) == list(range(9))
    assert Watched.ahead <= 3
    assert np.array_equal(result.label_map, labels_of(display_values()))
    scan.close()


def test_a_slice_that_fails_is_listed_and_the_others_are_answered(
    open_calls: Open, scan_path: Path, tmp_path: Path
) -> None:
    fake = Oracle()
    fake.failures.extend([None, None, None, None, FAULT])
    told: list[VolumeProgress] = []
    result = open_calls(fake).call(
        "segment_volume", scan_path, QUESTION, concurrency=1, progress=told.append
    )
    ((index, error),) = [(one.index, one.error) for one in result.failures]
    assert (index, error) == (4, FAULT)
    assert [answer.index for answer in result.slices] == [0, 1, 2, 3, 5, 6, 7, 8]
    expected = labels_of(display_values())
    expected[4] = 0
    assert np.array_equal(result.label_map, expected)
    assert result.reason.endswith("1 of 9 slices got no answer.")
    assert told[-1] == VolumeProgress(9, 9, 1)
    failed = [row for row in rows(result, tmp_path) if row["slice_verdict"] == "failed"]
    assert [(row["slice"], row["organ"]) for row in failed] == [("4", "")]
    assert failed[0]["error"] == f"ServerFaultError: {FAULT}"


def test_the_first_failure_can_end_it(open_calls: Open, scan_path: Path) -> None:
    fake = Oracle()
    fake.failures.extend([None, FAULT])
    with pytest.raises(errors.ServerFaultError, match="boom"):
        open_calls(fake).call(
            "segment_volume", scan_path, QUESTION, concurrency=1, on_failure=FailurePolicy.STOP
        )
    assert len(fake.requests) == 2


def test_where_no_slice_has_an_answer_the_first_error_is_raised(
    open_calls: Open, scan_path: Path
) -> None:
    fake = Oracle(failure=FAULT)
    with pytest.raises(errors.ServerFaultError, match="boom"):
        open_calls(fake).call("segment_volume", scan_path, QUESTION)
    assert len(fake.requests) == 9


@pytest.mark.parametrize(
    "error", [errors.AuthenticationError("no"), errors.ServerUnreachableError("no")]
)
def test_what_would_meet_every_slice_is_raised_at_once(
    error: errors.OrganSegError, open_calls: Open, scan_path: Path
) -> None:
    fake = Oracle(failure=error)
    with pytest.raises(type(error)):
        open_calls(fake).call("segment_volume", scan_path, QUESTION, concurrency=1)
    assert len(fake.requests) == 1


def test_a_damaged_slice_of_a_series_does_not_end_the_others(
    open_calls: Open, tmp_path: Path
) -> None:
    write_series(tmp_path / "series")
    scan = open_scan(tmp_path / "series")
    damaged = scan.source_files[2]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    result = open_calls(Oracle()).call("segment_volume", tmp_path / "series", QUESTION)
    ((index, error),) = [(one.index, one.error) for one in result.failures]
    assert index == 2
    assert isinstance(error, errors.ImageError)


@pytest.mark.parametrize(
    ("entries", "verdict", "reason"),
    [
        (OUT_OF_SCOPE, Verdict.OUT_OF_SCOPE, "The question asks for none of the 13 organs."),
        (SPLEEN_ABSENT, Verdict.ABSENT_IN_IMAGE, "The scan does not show the spleen."),
    ],
)
def test_a_rejected_question_gives_verdicts_and_no_segments(
    entries: Any, verdict: Verdict, reason: str, open_calls: Open, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "series")
    result = open_calls(Oracle(entries=entries)).call(
        "segment_volume", tmp_path / "series", QUESTION
    )
    assert result.verdict is verdict
    assert result.reason == reason
    assert [(organ.id, organ.slice_range) for organ in result.organs] == [(entries[0][0], None)]
    assert {row["slice_verdict"] for row in rows(result, tmp_path)} == {verdict.value}
    assert result.write_organ_niftis(tmp_path / "organs") == ()
    result.write_nifti(tmp_path / "labels.nii.gz")
    assert not np.asanyarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj).any()
    with pytest.raises(errors.NothingSegmentedError, match="no organ was segmented"):
        result.write_dicom_seg(tmp_path / "seg.dcm")


def test_the_table_has_a_line_for_each_organ_of_each_slice(
    open_calls: Open, scan_path: Path, tmp_path: Path
) -> None:
    result = open_calls(Oracle()).call("segment_volume", scan_path, QUESTION)
    table = rows(result, tmp_path)
    assert [int(row["slice"]) for row in table] == [index for index in range(9) for _ in ORGANS]
    liver = [row for row in table if row["organ"] == "liver"]
    assert [row["verdict"] for row in liver] == ["absent_in_image"] * 4 + ["segmented"] * 4 + [
        "absent_in_image"
    ]
    assert sum(float(row["volume_ml"]) for row in liver) == pytest.approx(
        result.organs[0].volume_ml, abs=1e-3
    )
    assert [liver[4][edge] for edge in ("x1", "y1", "x2", "y2")] == ["1.0", "2.0", "6.0", "6.0"]
    assert {row["server"] for row in table} == {"server:8001"}


def test_the_answer_in_plain_values_is_json(open_calls: Open, scan_path: Path) -> None:
    result = open_calls(Oracle()).call("segment_volume", scan_path, QUESTION)
    plain = json.loads(result.to_json())
    assert plain == result.to_dict()
    assert plain["slices"] == {
        "total": 9,
        "segmented": 7,
        "absent_in_image": 2,
        "out_of_scope": 0,
        "failed": 0,
    }
    assert plain["shape_zhw"] == [9, 10, 12]
    assert plain["organs"][0]["name"] == "liver"


def test_a_scan_that_the_caller_opened_stays_his(open_calls: Open, scan_path: Path) -> None:
    scan = open_scan(scan_path)
    result = open_calls(Oracle()).call("segment_volume", scan, QUESTION)
    assert np.array_equal(result.label_map, labels_of(display_values()))
    assert scan._file is not None  # type: ignore[attr-defined]
    scan.close()


def test_masks_go_when_the_result_is_closed(open_calls: Open, scan_path: Path) -> None:
    with open_calls(Oracle()).call("segment_volume", scan_path, QUESTION) as result:
        assert result.label_map.any()
    with pytest.raises(errors.ImageError, match="closed"):
        _ = result.label_map


def test_bad_input_is_refused_before_the_server_is_asked(
    open_calls: Open, scan_path: Path, tmp_path: Path
) -> None:
    fake = Oracle()
    calls = open_calls(fake)
    with pytest.raises(errors.QuestionError):
        calls.call("segment_volume", scan_path, "")
    with pytest.raises(errors.WindowError):
        calls.call("segment_volume", scan_path, QUESTION, window=(3, 1))
    with pytest.raises(errors.InvalidInputError, match="concurrency"):
        calls.call("segment_volume", scan_path, QUESTION, concurrency=0)
    with pytest.raises(errors.ImageError, match="wanted a NIfTI file, a DICOM folder"):
        calls.call("segment_volume", np.zeros((9, 10, 12)), QUESTION)
    with pytest.raises(errors.ImageError, match="found none"):
        calls.call("segment_volume", tmp_path / "missing.nii", QUESTION)
    assert fake.requests == []


def test_one_slice_of_an_open_scan_can_be_asked_about(open_calls: Open, scan_path: Path) -> None:
    scan = open_scan(scan_path)
    result = open_calls(Oracle()).call("segment", scan, QUESTION, slice_index=5)
    assert np.array_equal(result.masks, organ_masks(display_values()[5]))
    scan.close()
