"""A batch as a process against the real server: answers, failures, kills, what is gone on with."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_process import COMMAND, environment_of, run_client
from PIL import Image

from constructed import PICTURES, QUESTIONS
from organseg_client.command.exit_codes import ExitCode

pytestmark = pytest.mark.server

DEADLINE_S = 60
BILE = "Which organ stores bile?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures 0.png to 3.png."""
    for number, picture in enumerate(PICTURES):
        (tmp_path / f"{number}.png").write_bytes(picture)
    return tmp_path


def write_csv(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "cases.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def many_rows(count: int) -> list[dict[str, object]]:
    questions = list(QUESTIONS)
    return [
        {"image": f"{number % 4}.png", "question": questions[number % len(questions)]}
        for number in range(count)
    ]


def test_every_row_is_answered_in_order_with_its_pictures(
    server_address: str, folder: Path
) -> None:
    cases = [
        {"id": f"case/{number}", "image": f"{number % 4}.png", "question": question}
        for number, question in enumerate(QUESTIONS)
    ]
    table = write_csv(folder, cases)
    done = run_client(
        *("batch", table, "--url", server_address, "--json"),
        *("--masks", folder / "masks", "--overlays", folder / "overlays"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    out = folder / "cases.jsonl"
    summary = json.loads(done.stdout)
    assert summary["out"] == str(out)
    assert summary["answered"] == summary["asked"] == len(QUESTIONS)
    lines = lines_of(out)
    assert [line["id"] for line in lines] == [case["id"] for case in cases]
    for line, organs in zip(lines, QUESTIONS.values(), strict=True):
        assert [organ["id"] for organ in line["answer"]["organs"]] == list(organs or (14,))
        areas = {
            organ["id"] for organ in line["answer"]["organs"] if organ["verdict"] == "segmented"
        }
        with Image.open(line["files"]["mask"]) as mask:
            assert set(np.unique(np.asarray(mask))) <= {0, *areas}
        assert Path(line["files"]["overlay"]).is_file()
    assert len(list((folder / "masks").iterdir())) == len(QUESTIONS)


def test_a_killed_batch_goes_on_where_it_was(
    left_address: str, server_address: str, folder: Path
) -> None:
    rows = many_rows(24)
    table, out = write_csv(folder, rows), folder / "answers.jsonl"
    arguments = ["batch", table, "--out", out, "--concurrency", "2", "--url", server_address]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments[:-1]), left_address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment_of(),
    )
    deadline = time.monotonic() + DEADLINE_S
    while not out.exists() or out.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline, "no three rows before the deadline"
        time.sleep(0.01)
    process.kill()
    process.wait()

    found = out.read_bytes()
    whole_lines = found.splitlines(keepends=True)
    assert 3 <= len(whole_lines) < len(rows), "it was to be killed in the middle"
    # As if the kill had come while the last line was being written.
    out.write_bytes(found.rstrip(b"\n")[:-10])
    kept = b"".join(whole_lines[:-1])

    done = run_client(*arguments, "--json")
    assert done.returncode == 0
    assert f"{len(whole_lines) - 1} of {len(rows)} rows are finished already" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["asked"] == len(rows) - len(whole_lines) + 1
    assert (summary["answered"], summary["failed"], summary["left"]) == (len(rows), 0, 0)
    assert out.read_bytes().startswith(kept)
    lines = lines_of(out)
    assert [line["row"] for line in lines] == list(range(1, len(rows) + 1))
    assert [line["question"] for line in lines] == [row["question"] for row in rows]

    finished = out.read_bytes()
    again = run_client(*arguments, "--json")
    assert json.loads(again.stdout)["asked"] == 0
    assert out.read_bytes() == finished


def test_a_failed_row_keeps_its_error_and_the_others_are_answered(
    server_address: str, folder: Path
) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    table = write_csv(
        folder,
        [
            {"image": "none.png", "question": BILE},
            {"image": "0.png", "question": BILE},
            {"image": "broken.png", "question": BILE},
        ],
    )
    out = folder / "cases.jsonl"
    done = run_client("batch", table, "--url", server_address)
    assert done.returncode == ExitCode.PARTLY_FAILED
    assert "1 of 3 rows answered, 2 failed, 0 left" in done.stdout
    assert "--retry-failed" in done.stderr
    lines = lines_of(out)
    assert [line["status"] for line in lines] == ["failed", "answered", "failed"]
    for line in (lines[0], lines[2]):
        assert line["error"]["class"] == "ImageError"
        assert line["error"]["message"].startswith("wanted ")

    # Not asked again by itself, and the exit code still tells of it.
    again = run_client("batch", table, "--url", server_address, "--json")
    assert again.returncode == ExitCode.PARTLY_FAILED
    assert json.loads(again.stdout)["asked"] == 0
    (folder / "none.png").write_bytes(PICTURES[0])
    (folder / "broken.png").write_bytes(PICTURES[1])
    retried = run_client("batch", table, "--url", server_address, "--json", "--retry-failed")
    assert retried.returncode == 0
    assert json.loads(retried.stdout)["asked"] == 2
    assert sorted(line["row"] for line in lines_of(out)) == [1, 2, 3]
    assert {line["status"] for line in lines_of(out)} == {"answered"}


def test_a_batch_of_failures_alone_has_its_own_exit_code(server_address: str, folder: Path) -> None:
    table = write_csv(folder, [{"image": "none.png", "question": BILE}])
    done = run_client("batch", table, "--url", server_address, "--json")
    assert done.returncode == ExitCode.ALL_FAILED
    assert json.loads(done.stdout)["errors"] == {"ImageError": 1}


def test_window_and_slice_of_a_row_are_used(server_address: str, folder: Path) -> None:
    import nibabel

    values = np.random.default_rng(0).integers(-200, 300, (40, 50, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "scan.nii.gz")
    np.save(folder / "slice.npy", values[:, :, 0])
    table = write_csv(
        folder,
        [
            {"image": "scan.nii.gz", "question": BILE, "window": "-160 240", "slice": 4},
            {"image": "scan.nii.gz", "question": BILE, "window": "", "slice": 6},
            {"image": "slice.npy", "question": BILE, "window": "-100 100", "slice": ""},
        ],
    )
    done = run_client("batch", table, "--url", server_address, "--json")
    assert done.returncode == ExitCode.PARTLY_FAILED
    lines = lines_of(folder / "cases.jsonl")
    assert [line["status"] for line in lines] == ["answered", "failed", "answered"]
    assert lines[0]["answer"]["image_size_hw"] == [50, 40]
    assert [line["slice"] for line in lines] == [4, 6, None]
    assert lines[2]["window"] == [-100, 100]


def test_without_a_server_no_row_fails_and_nothing_is_written(folder: Path) -> None:
    table = write_csv(folder, many_rows(3))
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        done = run_client("batch", table, "--url", address, "--retries", "0", "--json")
    assert done.returncode == ExitCode.NO_SERVER
    assert json.loads(done.stdout)["error"]["class"] == "ServerUnreachableError"
    assert (folder / "cases.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--concurrency", "0"),
        ("--give-up-after", "-1"),
        ("--masks", "cases.csv"),
        ("--out", "cases.csv"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], folder: Path) -> None:
    table = write_csv(folder, many_rows(2))
    before = table.read_bytes()
    option, value = arguments
    value = str(folder / value) if value.endswith(".csv") else value
    done = run_client("batch", table, option, value)
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith("organseg-client: wanted ")
    assert table.read_bytes() == before
    assert os.listdir(folder).count("cases.csv") == 1
