"""`organseg-client explain` as a process: the text as it comes, JSON, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from client_process import COMMAND, environment_of, heed_ctrl_c, run_client

from constructed import PICTURES
from organseg_client.command.exit_codes import ExitCode

pytestmark = pytest.mark.server

BILE = "Which organ stores bile?"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "slice.png"
    path.write_bytes(PICTURES[0])
    return path


def test_the_text_goes_to_stdout_and_the_verdict_before_it_to_stderr(
    server_address: str, picture: Path
) -> None:
    arguments = ("--url", server_address, "--max-tokens", "8", "--deadline", "60")
    done = run_client("explain", picture, BILE, *arguments)
    assert (done.returncode, done.stderr) == (0, "The image shows the gallbladder.\n")
    assert done.stdout.startswith("Answer: I (gallbladder)")
    assert done.stdout.endswith("\n")


def test_json_is_the_whole_text_with_the_answer_that_it_explains(
    server_address: str, picture: Path
) -> None:
    arguments = ("--url", server_address, "--max-tokens", "8", "--deadline", "60", "--json")
    done = run_client("explain", picture, BILE, *arguments)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["text"].startswith("Answer: I (gallbladder)")
    assert document["finish"] in ("complete", "token_limit")
    assert document["result"]["verdict"] == "segmented"
    assert document["request_id"]


def test_text_is_printed_as_it_comes_and_ctrl_c_stops_it(left_address: str, picture: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "explain", str(picture), BILE, "--url", left_address, "--deadline", "120"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of(),
        preexec_fn=heed_ctrl_c,
    )
    assert process.stdout is not None
    first = process.stdout.read1(100)  # type: ignore[attr-defined]
    assert first
    assert process.poll() is None, "the whole text came at once"
    process.send_signal(signal.SIGINT)
    rest, words = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert (first + rest).endswith(b"\n")
    assert words.decode().endswith("organseg-client: interrupted\n")
    assert "Traceback" not in words.decode()


@pytest.mark.parametrize("tokens", ["0", "-1", "100000"])
def test_a_limit_that_is_none_is_refused(tokens: str, picture: Path) -> None:
    done = run_client("explain", picture, BILE, "--max-tokens", tokens, "--url", "127.0.0.1:1")
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith("organseg-client: wanted 1 to ")
