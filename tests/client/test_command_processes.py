"""Every command as a process of its own against the real server: output, files, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_process import COMMAND, environment_of, heed_ctrl_c, run_client
from PIL import Image

from constructed import PICTURES
from organseg_client.command.exit_codes import ExitCode

pytestmark = pytest.mark.server

BILE = "Which organ stores bile?"
ESCAPE = "\x1b"
PEOPLE_WORDS = {
    "segment": "gallbladder",
    "capabilities": "intended use",
    "health": "healthy",
    "stats": "answered",
}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "slice.png"
    path.write_bytes(PICTURES[0])
    return path


@pytest.fixture
def closed_address() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


def arguments_of(command: str, picture: Path) -> list[object]:
    return [command, picture, BILE] if command in ("segment", "explain") else [command]


def document_of(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document of stdout."""
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", PEOPLE_WORDS)
def test_people_get_words_and_tables_without_colours_in_a_pipe(
    command: str, server_address: str, picture: Path
) -> None:
    done = run_client(*arguments_of(command, picture), "--url", server_address)
    assert (done.returncode, done.stderr) == (0, "")
    assert PEOPLE_WORDS[command] in done.stdout
    assert ESCAPE not in done.stdout


@pytest.mark.parametrize("command", PEOPLE_WORDS)
def test_programs_get_one_json_document_and_nothing_else(
    command: str, server_address: str, picture: Path
) -> None:
    # The environment names the server, too.
    done = run_client(*arguments_of(command, picture), "--json", ORGANSEG_URL=server_address)
    assert (done.returncode, done.stderr) == (0, "")
    assert document_of(done)


def test_segment_answers_and_writes_overlay_and_mask(
    server_address: str, picture: Path, tmp_path: Path
) -> None:
    overlay, mask = tmp_path / "overlay.png", tmp_path / "labels.png"
    done = run_client(
        *("segment", picture, BILE, "--url", server_address, "--json"),
        *("--overlay", overlay, "--mask", mask),
    )
    answer = document_of(done)
    assert answer["verdict"] == "segmented"
    assert [organ["name"] for organ in answer["organs"]] == ["gallbladder"]
    with Image.open(mask) as labels:
        pixels = np.asarray(labels)
    assert set(np.unique(pixels)) == {0, 9}
    assert np.count_nonzero(pixels) == answer["organs"][0]["area_pixels"]
    with Image.open(overlay) as shown:
        assert shown.mode == "RGB"


def test_capabilities_say_what_the_server_is(server_address: str) -> None:
    found = document_of(run_client("capabilities", "--json", "--url", server_address))
    assert [organ["name"] for organ in found["organs"]][:2] == ["liver", "right kidney"]
    assert found["preset"] == "tiny"
    assert found["intended_use"]


def test_health_ends_with_1_unless_every_server_answers(
    server_address: str, closed_address: str
) -> None:
    both = f"{server_address},{closed_address}"
    done = run_client("health", "--json", "--url", both, "--deadline", "10")
    assert done.returncode == ExitCode.UNHEALTHY
    health = document_of(done)
    assert not health["is_healthy"]
    assert [server["state"] for server in health["servers"]] == ["healthy", "unreachable"]
    shown = run_client("health", "--url", closed_address, "--deadline", "10")
    assert shown.returncode == ExitCode.UNHEALTHY
    assert "unreachable" in shown.stdout
    assert "Traceback" not in shown.stderr


def test_stats_count_the_requests(server_address: str, picture: Path) -> None:
    def answered() -> dict[str, int]:
        (server,) = document_of(run_client("stats", "--json", "--url", server_address))["servers"]
        return {model["name"]: model["successes"] for model in server["models"]}

    before = answered()
    assert run_client("segment", picture, BILE, "--url", server_address).returncode == 0
    after = answered()
    assert set(after) == set(before)
    assert all(after[name] > before[name] for name in ("organ_seg", "preprocess", "gate"))


def test_stats_of_a_server_that_is_gone_say_so_and_show_the_others(
    server_address: str, closed_address: str
) -> None:
    done = run_client("stats", "--url", server_address, "--url", closed_address)
    assert done.returncode == ExitCode.NO_SERVER
    assert "organ_seg" in done.stdout
    assert closed_address in done.stderr


@pytest.mark.parametrize("command", ["segment", "capabilities"])
def test_without_a_server_the_command_says_so_in_a_line_and_in_json(
    command: str, closed_address: str, picture: Path
) -> None:
    arguments = (*arguments_of(command, picture), "--url", closed_address, "--retries", "0")
    done = run_client(*arguments)
    assert done.returncode == ExitCode.NO_SERVER
    assert done.stdout == ""
    assert done.stderr.startswith("organseg-client: wanted ")
    assert done.stderr.count("\n") == 1
    told = run_client(*arguments, "--json")
    assert told.returncode == ExitCode.NO_SERVER
    assert document_of(told)["error"]["class"] == "ServerUnreachableError"


def test_a_segment_stands_in_for_a_server_that_is_gone(
    server_address: str, closed_address: str, picture: Path
) -> None:
    done = run_client("segment", picture, BILE, "--url", f"{closed_address},{server_address}")
    assert done.returncode == 0


@pytest.mark.parametrize("command", PEOPLE_WORDS)
def test_a_reader_that_goes_away_is_no_error(
    command: str, server_address: str, picture: Path
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments_of(command, picture)), "--url", server_address],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            env=environment_of(),
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


def shown_on_a_terminal(arguments: list[object], **variables: str) -> str:
    """What a command writes where its stdout is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment_of(TERM="xterm-256color", COLUMNS="100", **variables),
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        # A terminal whose other end is closed ends in an error on Linux.
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:
            pass
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_shows_colours_unless_no_color_is_set(
    server_address: str, picture: Path
) -> None:
    arguments = [*arguments_of("segment", picture), "--url", server_address]
    assert "\x1b[32msegmented" in shown_on_a_terminal(arguments)
    assert "\x1b[32m" not in shown_on_a_terminal(arguments, NO_COLOR="1")


def test_ctrl_c_ends_without_a_traceback(picture: Path) -> None:
    # A server that takes the connection and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [
                *COMMAND,
                "segment",
                str(picture),
                BILE,
                "--url",
                f"127.0.0.1:{silent.getsockname()[1]}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_of(),
            preexec_fn=heed_ctrl_c,
        )
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            output, words = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert (output, words) == ("", "organseg-client: interrupted\n")
