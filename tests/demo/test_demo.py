"""The demo and the command line, end to end against the real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from demo import __main__ as demo
from demo.questions import QUESTIONS
from organseg.organs import ORGANS
from shipped_weights import KNOWN_WRONG

pytestmark = pytest.mark.server

SAMPLES = Path(demo.__file__).parent / "samples"


@pytest.fixture
def own_results(tmp_path, monkeypatch) -> Path:
    """The demo writes into a folder of the test's own."""
    monkeypatch.setattr(demo, "HERE", tmp_path)
    monkeypatch.setattr(demo, "OVERLAYS", tmp_path / "overlays")
    monkeypatch.setattr(demo, "RESULTS", tmp_path / "results.json")
    return tmp_path


def test_the_demo_answers_every_question_and_leaves_no_server(release, own_results, capsys):
    assert demo.main(["--release", str(release)]) == 0
    rows = json.loads((own_results / "results.json").read_text())
    assert [row["question"] for row in rows] == [asked.question for asked in QUESTIONS]
    assert len(rows) >= 6
    for row in rows:
        assert row["verdict"] in {"segmented", "absent_in_image", "out_of_scope"}
        assert row["organs"]
        with Image.open(own_results / row["overlay"]) as overlay:
            assert overlay.size >= (320, 320)
    said = capsys.readouterr().out
    assert "untrained" in said
    assert all(asked.question in said for asked in QUESTIONS)
    # The demo's server may have been started by other tests too: only our own children count.
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert not [command for command in commands if str(own_results).encode() in command]


def test_the_demo_with_the_shipped_weights_is_as_right_as_known_and_calls_them_trained(
    own_results, capsys, monkeypatch
):
    monkeypatch.setattr(demo, "RELEASE", own_results / "release")
    assert demo.main([]) == 0
    assert "untrained" not in capsys.readouterr().out
    expected = {"not in this slice": "absent_in_image", "none of the 13 organs": "out_of_scope"}
    wrong = set()
    for row in json.loads((own_results / "results.json").read_text()):
        found = ([organ["name"] for organ in row["organs"]], row["verdict"])
        if found != (row["asked"] or ["none"], expected.get(row["kind"], "segmented")):
            wrong.add(row["kind"])
    assert wrong == KNOWN_WRONG


def test_the_demo_names_a_release_that_is_none(tmp_path, capsys):
    assert demo.main(["--release", str(tmp_path)]) == 1
    assert "demo: wanted a release" in capsys.readouterr().err


def test_the_samples_are_what_their_index_says():
    from organseg.organs import organ_by_name

    index = {entry["image"]: entry for entry in json.loads((SAMPLES / "samples.json").read_text())}
    assert {asked.image for asked in QUESTIONS} <= set(index)
    for asked in QUESTIONS:
        shown = set(index[asked.image]["organs_present"])
        absent = asked.kind == "not in this slice"
        assert set(asked.organs) & shown == (set() if absent else set(asked.organs))
        assert all(organ_by_name(name) in ORGANS for name in asked.organs)


def test_the_command_line_asks_the_server_and_writes_its_files(server_address, tmp_path):
    answered = subprocess.run(
        [
            sys.executable,
            "-m",
            "organseg_client",
            "segment",
            str(SAMPLES / "ct_upper_abdomen.png"),
            "Outline the liver, please.",
            "--url",
            server_address,
            "--json",
            "--overlay",
            str(tmp_path / "overlay.png"),
            "--mask",
            str(tmp_path / "mask.png"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    told = json.loads(answered.stdout)
    assert told["verdict"] in {"segmented", "absent_in_image", "out_of_scope"}
    for name in ("overlay.png", "mask.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) >= 320
