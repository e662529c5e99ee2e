"""`organseg-client volume` as a process against the real server: files, tables, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from client_process import run_client

from constructed_scans import ORIENTATIONS, as_file, display_values, write_series
from organseg_client.command.exit_codes import ExitCode

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

pytestmark = pytest.mark.server

BILE = "Which organ stores bile?"
DEPTH = len(display_values())


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIfTI file whose axes are turned and flipped."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    array, affine = as_file(display_values(), *ORIENTATIONS[13])
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    write_series(folder)
    return folder


def test_a_scan_gives_a_label_map_in_its_own_frame_organs_and_verdicts(
    server_address: str, scan: Path, tmp_path: Path
) -> None:
    out, organs, table = tmp_path / "labels.nii.gz", tmp_path / "organs", tmp_path / "slices.csv"
    done = run_client(
        *("volume", scan, BILE, "--url", server_address, "--json"),
        *("--out", out, "--organs", organs, "--csv", table),
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["slices"]["total"] == DEPTH
    labels, source = nibabel.load(out), nibabel.load(scan)
    np.testing.assert_array_equal(labels.affine, source.affine)
    assert labels.shape == source.shape
    found = {organ["id"]: organ for organ in answer["organs"] if organ["voxels"]}
    assert set(np.unique(np.asarray(labels.dataobj))) <= {0, *found}
    written = sorted(organs.iterdir())
    assert len(written) == len(found)
    assert answer["files"] == [str(out), *map(str, written), str(table)]
    with table.open(newline="") as file:
        assert {int(row["slice"]) for row in csv.DictReader(file)} == set(range(DEPTH))


def test_people_get_a_table_and_the_names_of_the_files(
    server_address: str, scan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels.nii"
    done = run_client("volume", scan, BILE, "--url", server_address, "--out", out)
    assert done.returncode == 0
    header = done.stdout.splitlines()[0].split()
    assert header == ["organ", "letter", "verdict", "mL", "slices", "shown", "in"]
    assert f"({DEPTH} slices, " in done.stdout
    assert done.stderr == f"written: {out}\n"


def test_a_dicom_series_gives_a_dicom_segmentation_or_the_reason_why_not(
    server_address: str, series: Path, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    for question in (BILE, "What is the capital of France?"):
        out = tmp_path / f"{len(question)}.dcm"
        arguments = ("--json", "--dicom-seg", out, "--url", server_address)
        done = run_client("volume", series, question, *arguments)
        assert done.returncode == 0
        answer = json.loads(done.stdout)
        # An organ may be told segmented while its mask has no pixel.
        if any(organ["voxels"] for organ in answer["organs"]):
            assert answer["files"] == [str(out)]
            assert pydicom.dcmread(out).Modality == "SEG"
        else:
            assert answer["files"] == []
            assert "no DICOM segmentation written" in done.stderr
            assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "labels.png"), "ending in .nii"),
        (("--out", "no/folder/labels.nii"), "no folder there"),
        (("--csv", "."), "a folder of that name"),
        (("--dicom-seg", "seg.dcm"), "a folder of one DICOM series"),
        (("--concurrency", "0"), "a concurrency of at least 1"),
        (("--window", "5", "5"), "wanted a window"),
    ],
)
def test_what_cannot_be_written_or_asked_is_refused_before_a_slice_is_sent(
    arguments: tuple[str, ...],
    words: str,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing listens there, and nothing is asked.
    done = run_client("volume", scan, BILE, "--url", "127.0.0.1:1", *arguments)
    assert done.returncode == ExitCode.BAD_INPUT
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    for scan in (tmp_path / "none.nii", tmp_path):
        done = run_client("volume", scan, BILE, "--url", "127.0.0.1:1", "--json")
        assert done.returncode == ExitCode.BAD_INPUT
        assert json.loads(done.stdout)["error"]["class"] == "ImageError"
