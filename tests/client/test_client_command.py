"""`organseg-client segment`: output, files and exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from client_fakes import LIVER_BUT_NO_SPLEEN, OUT_OF_SCOPE, SPLEEN_ABSENT, FakeTransport
from PIL import Image

from organseg import errors
from organseg_client import client as client_module
from organseg_client.command import main
from organseg_client.command.exit_codes import ExitCode, exit_code_of

QUESTION = "Where are liver and spleen?"


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """What the command's client gets instead of a connection."""
    transport = FakeTransport(entries=LIVER_BUT_NO_SPLEEN)
    monkeypatch.setattr(client_module, "GrpcTransport", lambda url, **_: transport)
    return transport


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "slice.png"
    Image.fromarray(np.full((40, 60), 90, dtype=np.uint8)).save(path)
    return str(path)


def test_an_answer_is_a_small_table_and_a_sentence(
    transport: FakeTransport, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", image, QUESTION]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["organ", "letter", "verdict", "box", "pixels", "quality"]
    assert lines[2].split() == ["liver", "A", "segmented", "0", "1", "29", "20", "551", "0.75"]
    assert lines[3].split() == ["spleen", "C", "absent_in_image", "-", "-", "-"]
    assert lines[5].startswith("The image shows the liver, but it does not show the spleen. (")
    assert lines[5].endswith(" ms)")
    assert transport.calls[-1] == "close"


def test_json_goes_to_stdout_alone(
    transport: FakeTransport, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", image, QUESTION, "--json"]) == 0
    printed = capsys.readouterr()
    assert [one["name"] for one in json.loads(printed.out)["organs"]] == ["liver", "spleen"]
    assert printed.err == ""


@pytest.mark.parametrize("entries", [SPLEEN_ABSENT, OUT_OF_SCOPE])
def test_absent_and_out_of_scope_are_answers(
    entries: tuple, transport: FakeTransport, image: str
) -> None:
    transport.entries = entries
    assert main(["segment", image, QUESTION]) == ExitCode.ANSWERED


def test_overlay_and_label_file_are_written(
    transport: FakeTransport, image: str, tmp_path: Path
) -> None:
    overlay, mask = tmp_path / "overlay.jpg", tmp_path / "labels.PNG"
    assert main(["segment", image, QUESTION, "--overlay", str(overlay), "--mask", str(mask)]) == 0
    with Image.open(overlay) as picture:
        assert picture.mode == "RGB"
    with Image.open(mask) as picture:
        labels = np.asarray(picture)
    assert labels.shape == (40, 60)
    assert set(np.unique(labels)) == {0, 1}


def test_window_and_deadline_are_passed_on(transport: FakeTransport, image: str) -> None:
    arguments = ["segment", image, QUESTION, "--window", "-160", "240.5", "--deadline", "7"]
    assert main(arguments) == 0
    assert transport.requests[0].inputs["WINDOW"].tolist() == [[-160, 240.5]]
    assert 6 < transport.deadlines_s[-1] <= 7


def test_a_slice_of_a_nifti_is_asked_about(transport: FakeTransport, tmp_path: Path) -> None:
    import nibabel

    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 30, 5), np.int16), np.eye(4)), path)
    assert main(["segment", str(path), QUESTION, "--slice", "4"]) == 0
    assert main(["segment", str(path), QUESTION, "--slice", "5"]) == ExitCode.BAD_INPUT
    assert main(["segment", str(path), QUESTION]) == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.png", QUESTION],
        ["IMAGE", " "],
        ["IMAGE", QUESTION, "--window", "5", "5"],
        ["IMAGE", QUESTION, "--deadline", "0"],
        ["IMAGE", QUESTION, "--slice", "1"],
        ["IMAGE", QUESTION, "--mask", "labels.jpg"],
        ["IMAGE", QUESTION, "--mask", "no/such/folder/labels.png"],
        ["IMAGE", QUESTION, "--overlay", "picture.unknown"],
    ],
)
def test_a_users_mistake_is_one_sentence_on_stderr_and_code_2(
    arguments: list[str],
    transport: FakeTransport,
    image: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["segment", *(image if word == "IMAGE" else word for word in arguments)])
    assert code == ExitCode.BAD_INPUT
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("organseg-client: wanted ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.ImageError("wanted"), 2),
        (errors.ServerUnreachableError("wanted"), 3),
        (errors.ServerBusyError("wanted"), 3),
        (errors.DeadlineExceededError("wanted"), 3),
        (errors.AuthenticationError("wanted"), 3),
        (errors.ServerFaultError("wanted"), 4),
        (errors.ContractError("wanted"), 4),
    ],
)
def test_each_kind_of_failure_has_its_exit_code_and_one_line(
    failure: errors.OrganSegError,
    code: int,
    transport: FakeTransport,
    image: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    transport.failure = failure
    assert main(["segment", image, QUESTION]) == code
    assert capsys.readouterr().err == "organseg-client: wanted\n"


def test_every_error_of_the_project_has_an_exit_code_that_is_not_zero() -> None:
    for name in errors.__all__:
        assert exit_code_of(getattr(errors, name)("wanted")) in (2, 3, 4)


def test_ctrl_c_ends_without_a_traceback(
    transport: FakeTransport, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    transport.failure = KeyboardInterrupt()
    assert main(["segment", image, QUESTION]) == 130
    assert capsys.readouterr().err == "organseg-client: interrupted\n"


def test_the_command_as_a_process_finds_no_server_and_shows_no_traceback(image: str) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "organseg_client", "segment", image, QUESTION, "--url", address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == ExitCode.NO_SERVER
    assert done.stdout == ""
    assert done.stderr.startswith("organseg-client: wanted a connection to the server")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(image: str) -> None:
    program = (
        "import os, sys\n"
        "from client_fakes import FakeTransport\n"
        "from organseg_client import client\n"
        "from organseg_client.command import main\n"
        "client.GrpcTransport = lambda url, **_: FakeTransport()\n"
        "read_end, write_end = os.pipe()\n"
        "os.dup2(write_end, 1)\n"
        "os.close(read_end)\n"
        "sys.exit(main(['segment', sys.argv[1], 'Which organ stores bile?']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, image],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert (done.returncode, done.stderr) == (0, "")
