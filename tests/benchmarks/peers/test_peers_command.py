"""The command measures Organ-Seg and a peer in turns, and writes what it found."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.load.window import Window
from benchmarks.peers import contenders
from benchmarks.peers.goals import ORGAN_SEG


@pytest.mark.server
@pytest.mark.slow
def test_the_command_measures_in_turns_and_writes_the_record(
    release: Path,
    serving_again: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(contenders, "serving", serving_again)
    record_file = tmp_path / "peers.json"
    handler = signal.getsignal(signal.SIGTERM)
    options = ["--release", str(release), "--only", "in_process", "--turns", "1"]
    length = ["--users", "1", "--requests", "2", "--json", str(record_file)]
    assert main(["peers", *options, *length]) == 0
    assert signal.getsignal(signal.SIGTERM) == handler

    record = json.loads(record_file.read_text())
    windows = [Window.from_json(document) for document in record["windows"]]
    measured = {(window.target, window.users) for window in windows}
    assert {(ORGAN_SEG, 1), (ORGAN_SEG, 4), ("in_process", 2)} <= {
        # The loop has as many threads as the machine has cores.
        (target, 2 if target == "in_process" else users)
        for target, users in measured
    }
    assert {window.turn for window in windows} == {0}
    assert not any(window.failed for window in windows)
    assert record["critical_path_ms"] == record["paths"][0]["critical_path_ms"] > 0
    goals = {goal["measure"]: goal["value"] for goal in record["goals"]}
    assert goals["server CPU-seconds per request vs in process"] is not None
    assert goals["p50 at 1 user, less 2 ms per hop, vs the in-process critical path"] is not None

    table = capsys.readouterr().out
    assert "| organ_seg (distinct) | 4 |" in table
    assert "not measured" in table


def test_another_preset_than_the_releases_is_refused(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peers", "--release", str(release), "--preset", "medsam"]) == 1
    assert "wanted a release of the preset medsam, got one of tiny" in capsys.readouterr().err
