"""The example for `curl`: sound shell, and right answers from the real server over HTTP."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from constructed import PICTURES
from organseg.organs import ANSWERS

if TYPE_CHECKING:
    from organseg.serving.embedded import EmbeddedServer

SCRIPT = Path(__file__).resolve().parents[2] / "client" / "examples" / "curl" / "ask.sh"

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("curl", "jq"))), reason="curl and jq are not both installed"
)


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a slice.png"
    path.write_bytes(PICTURES[0])
    return str(path)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_is_one_for_every_shell(shell: str) -> None:
    subprocess.run([shell, "-n", SCRIPT], check=True)


def test_shellcheck_has_no_complaint_about_the_example() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_script_knows_the_organs_by_the_contracts_ids() -> None:
    names = re.search(r"\[([^\[\]]*)\] as \$names", SCRIPT.read_text())
    assert names
    assert re.findall(r'"([^"]+)"', names[1]) == [organ.name for organ in ANSWERS]


@needs_tools
@pytest.mark.server
@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Which organ stores bile?", [("segmented", "gallbladder")]),
        ("Show me the liver and the aorta.", [("segmented", "liver"), ("segmented", "aorta")]),
        ("Segment the spleen", [("absent_in_image", "spleen")]),
        ("What is the capital of France?", [("out_of_scope", "none")]),
    ],
)
def test_it_prints_verdict_organ_and_box_of_every_answer(
    question: str, wanted: list[tuple[str, str]], picture: str, ensemble_server: EmbeddedServer
) -> None:
    done = ask(picture, question, f"http://{ensemble_server.http_address}")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(verdict, organ) for verdict, organ, _ in rows] == wanted
    for verdict, _, box in rows:
        left, top, right, bottom = map(float, box.split())
        assert (left < right and top < bottom) == (verdict == "segmented")


@needs_tools
@pytest.mark.server
def test_quotes_and_umlauts_reach_the_server_as_they_are(
    picture: str, ensemble_server: EmbeddedServer
) -> None:
    question = 'Où est la "vésicule" \\ $HOME?'
    assert ask(picture, question, f"http://{ensemble_server.http_address}").returncode == 0
    # The bound counts bytes of UTF-8: 600 times 2.
    done = ask(picture, "é" * 600, f"http://{ensemble_server.http_address}")
    assert done.returncode == 1
    assert "got 1200" in done.stderr


@needs_tools
@pytest.mark.server
def test_what_the_server_refuses_is_told_in_its_words(ensemble_server: EmbeddedServer) -> None:
    done = ask(str(SCRIPT), "Where is the liver?", f"http://{ensemble_server.http_address}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "HTTP 400: " in done.stderr
    assert "ImageError: wanted a PNG" in done.stderr


@needs_tools
def test_a_server_that_is_not_there_and_missing_arguments_fail(picture: str) -> None:
    assert "onnect" in ask(picture, "Where is the liver?", "http://127.0.0.1:1").stderr
    done = ask(picture)
    assert done.returncode == 2
    assert "usage: " in done.stderr
