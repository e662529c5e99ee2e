"""Steps of an export: kept while nothing that goes into them changes, whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from export import steps as steps_module
from export.progress import Progress
from export.steps import RECORD_FILE, Steps
from organseg.serving.manifest import verify_release

ROOT = Path(__file__).resolve().parent.parent.parent
EXPORT = [sys.executable, "-m", "export", "--untrained"]


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, folder: Path) -> None:
        self.done += 1
        (folder / "made").write_text(f"number {self.done}")


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path / "steps", Progress(quiet=True))


def test_a_step_is_done_once_for_the_same_inputs(steps):
    work = Work()
    first = steps.result("bake a graph", {"weights": "a"}, work)
    again = steps.result("bake a graph", {"weights": "a"}, work)
    assert (first, work.done) == (again, 1)
    assert (first / "made").read_text() == "number 1"
    assert json.loads((first / RECORD_FILE).read_text())["inputs"] == {"weights": "a"}


def test_another_input_tool_or_code_makes_a_step_anew(steps, monkeypatch):
    work = Work()
    folders = [steps.result("bake", {"weights": "a"}, work)]
    folders.append(steps.result("bake", {"weights": "b"}, work))
    monkeypatch.setattr(steps_module, "tool_versions", lambda: {"torch": "99"})
    folders.append(steps.result("bake", {"weights": "b"}, work))
    monkeypatch.setattr(steps_module, "code_sha256", lambda: "another")
    folders.append(steps.result("bake", {"weights": "b"}, work))
    assert work.done == len(set(folders)) == 4


def test_two_steps_of_the_same_inputs_are_two(steps):
    assert steps.result("bake", {}, Work()) != steps.result("boil", {}, Work())


def test_a_kept_result_that_was_damaged_is_made_anew(steps):
    work = Work()
    folder = steps.result("bake", {}, work)
    (folder / "made").write_text("spoiled")
    assert steps.result("bake", {}, work) == folder
    assert (work.done, (folder / "made").read_text()) == (2, "number 2")
    (folder / RECORD_FILE).write_text("{")
    steps.result("bake", {}, work)
    assert work.done == 3


def test_two_exports_that_make_the_same_at_once_share_it(steps):
    other = Steps(steps.folder, Progress(quiet=True))

    def make_beside(folder: Path) -> None:
        (folder / "made").write_text("mine")
        other.result("bake", {}, lambda own: (own / "made").write_text("theirs"))

    kept = steps.result("bake", {}, make_beside)
    assert (kept / "made").read_text() == "theirs"
    assert [path.name for path in steps.folder.iterdir()] == [kept.name]


def test_a_step_that_fails_leaves_nothing(steps):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("this is a test")

    with pytest.raises(RuntimeError, match="this is a test"):
        steps.result("bake", {}, fail)
    assert list(steps.folder.iterdir()) == []


def test_what_a_killed_export_left_half_made_is_taken_away_and_a_running_ones_stays(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    for number in (process.pid, os.getpid()):
        (tmp_path / f".making-{number}-x").mkdir()
    Steps(tmp_path, Progress(quiet=True))
    assert [path.name for path in tmp_path.iterdir()] == [f".making-{os.getpid()}-x"]


def test_old_results_of_a_step_are_forgotten(steps):
    for number in range(6):
        kept = steps.result("bake", {"number": number}, Work())
        os.utime(kept, (number, number))
    other = steps.result("bake well", {}, Work())
    assert len(list(steps.folder.iterdir())) == 4
    assert kept.is_dir()
    assert other.is_dir()


def test_nested_steps_are_told_with_what_they_cost(capsys):
    progress = Progress()
    with progress.step("outer"):
        with progress.step("inner"):
            pass
        progress.note("other", "kept")
    with pytest.raises(KeyError), progress.step("broken"):
        raise KeyError
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[1 + line.startswith("    ")] for line in lines] == [
        "outer",
        "inner",
        "other",
        "outer, in all",
        "broken",
    ]
    assert "peak" in lines[1]
    assert "peak" in lines[3]
    assert lines[4].endswith("failed")


@pytest.mark.slow
def test_an_export_that_was_killed_goes_on_and_leaves_earlier_releases_alone(tmp_path, release):
    out, kept = tmp_path / "mine", tmp_path / ".export-steps"
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "manifest.json").write_text("as it was")
    command = [*EXPORT, "--out", str(out)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log)
    deadline = time.monotonic() + 200
    # Killed while it makes the second graph, so that one is whole and one is half made.
    while not (list(kept.glob("export-image_encoder-*")) and list(kept.glob(".making-*"))):
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    (whole,) = kept.glob("export-image_encoder-*")
    made = (whole / "model.onnx").stat().st_mtime_ns
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = [line.split() for line in second.stderr.splitlines()]
    assert ["export", "image_encoder", "unchanged,", "kept"] in said
    assert not list(kept.glob(".making-*"))
    assert (whole / "model.onnx").stat().st_mtime_ns == made
    assert verify_release(out).preset == "tiny"
    assert (earlier / "manifest.json").read_text() == "as it was"
    assert not list(tmp_path.glob(".mine-*"))


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_the_earlier_release(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "manifest.json").write_text("earlier")
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "from export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, "--untrained", "--replace", "--out", str(out)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert "wanted room on the disk" in found.stderr
    assert "Traceback" not in found.stderr
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    assert (out / "manifest.json").read_text() == "earlier"
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"mine", ".export-steps"}
