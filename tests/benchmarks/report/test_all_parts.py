"""All parts in a row: failures are passed, finished parts are kept, the report comes last."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks import all_command
from benchmarks.__main__ import build_parser, main
from benchmarks.all_parts import PARTS, Part
from benchmarks.all_running import Outcome, Run, run_parts
from benchmarks.stopping import sigterm_unwinds

# A stand-in for `python -m benchmarks` that takes the same arguments. What it is told to do stands
# in the name of the subcommand.
PROGRAM = """
import pathlib, signal, sys
command, record = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index("--json") + 1])
if command == "broken":
    sys.exit("no perf_analyzer on this machine")
record.write_text("{}")
print(*sys.argv[1:], flush=True)
if command == "endless":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("its servers were stopped"))
    print("ready", flush=True)
    signal.pause()
if command == "faulty":
    sys.exit("3 requests failed")
"""


def part(name: str, command: str = "sound") -> Part:
    return Part(name, "words", command, {"tiny": 100}, 2, full=("--long",), quick=("--short",))


@pytest.fixture
def run(tmp_path):
    release = tmp_path / "release"
    release.mkdir()
    (release / "manifest.json").write_text("{}")
    return Run(release, "tiny", tmp_path / "out", program=(sys.executable, "-c", PROGRAM))


def outcomes(run: Run, parts: list[Part]) -> tuple[list[Outcome], str]:
    said: list[str] = []
    run.folder.mkdir(exist_ok=True)
    return [result.outcome for result in run_parts(run, parts, said.append)], "".join(said)


def test_a_part_that_fails_is_told_and_the_next_one_runs(run):
    parts = [part("one"), part("two", "broken"), part("three", "faulty"), part("four")]
    found, said = outcomes(run, parts)
    assert found == [Outcome.DONE, Outcome.FAILED, Outcome.FAULTY, Outcome.DONE]
    lines = said.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/4] one: words; about 2 min, 7 min left: done in")
    assert "FAILED with status 1" in lines[1]
    assert "no perf_analyzer on this machine (logs/two.log)" in lines[1]
    assert "WITH FAILURES: 3 requests failed" in lines[2]
    log = (run.folder / "logs" / "one.log").read_text()
    assert log.split() == [
        *("sound", "--release", str(run.release)),
        *("--long", "--json", str(run.folder / "one.json")),
    ]


def test_what_was_measured_is_kept_and_what_failed_is_tried_again(run):
    parts = [part("one"), part("two", "broken"), part("three", "faulty")]
    outcomes(run, parts)
    found, said = outcomes(run, parts)
    assert found == [Outcome.KEPT, Outcome.FAILED, Outcome.FAULTY]
    assert "kept from before (--again measures it anew)" in said
    assert outcomes(replace(run, is_again=True), parts[:1])[0] == [Outcome.DONE]


def test_another_release_form_or_a_lost_record_is_measured_anew(run):
    parts = [part("one")]
    outcomes(run, parts)
    assert outcomes(replace(run, is_quick=True), parts)[0] == [Outcome.DONE]
    assert outcomes(run, parts)[0] == [Outcome.DONE]
    (run.release / "manifest.json").write_text('{"created": "later"}')
    assert outcomes(run, parts)[0] == [Outcome.DONE]
    (run.folder / "one.json").unlink()
    assert outcomes(run, parts)[0] == [Outcome.DONE]
    assert outcomes(run, parts)[0] == [Outcome.KEPT]


def test_another_commit_is_measured_anew(run, monkeypatch):
    outcomes(run, [part("one")])
    other = {"id": "f" * 40, "modified": False}
    monkeypatch.setattr("benchmarks.all_running.describe_commit", lambda _: other)
    assert outcomes(run, [part("one")])[0] == [Outcome.DONE]


def test_being_told_to_stop_is_handed_on_to_the_part_that_runs(run):
    log = run.folder / "logs" / "one.log"

    def stop_once_it_runs():
        deadline = time.monotonic() + 60
        while not (log.is_file() and "ready" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop_once_it_runs)
    watcher.start()
    with sigterm_unwinds(), pytest.raises(SystemExit):
        outcomes(run, [part("one", "endless"), part("two")])
    watcher.join()
    assert "its servers were stopped" in log.read_text()
    assert not (run.folder / "two.json").exists()


def test_every_part_takes_the_arguments_that_it_is_given(run):
    parser = build_parser()
    for each in PARTS:
        for form in (run, replace(run, is_quick=True), replace(run, preset="medsam")):
            options = parser.parse_args(form.command(each)[len(run.program) :])
            assert options.json == run.record(each)


def test_tiny_takes_less_than_twenty_minutes_and_the_quick_form_a_third():
    whole = sum(each.seconds["tiny"] for each in PARTS)
    assert whole < 20 * 60
    assert sum(each.quick_seconds for each in PARTS) < whole / 2


def test_the_report_has_the_records_of_all_but_the_parts_that_failed(
    tmp_path, stages_record, follow_up_record, load_record, monkeypatch, capsys
):
    out = tmp_path / "out"
    out.mkdir()
    for path in (stages_record, follow_up_record, load_record):
        (out / path.name).write_text(path.read_text())

    class Manifest:
        preset = "tiny"

    monkeypatch.setattr(all_command, "verify_release", lambda _: Manifest)
    release = tmp_path / "no-release"
    release.mkdir()
    (release / "manifest.json").write_text("{}")
    # The real command fails: there is no release to serve.
    arguments = ["--release", str(release), "--out", str(out), "--only", "load", "--quick"]
    assert main(["all", *arguments]) == 1
    assert "load failed: see logs/load.log" in capsys.readouterr().out
    markdown = (out / "report.md").read_text()
    records = markdown.partition("Where the numbers come from")[2]
    assert "| `stages` | tiny |" in records
    assert "| `follow-up` | tiny |" in records
    assert "| `load` |" not in records


def test_parts_have_records_of_their_own():
    names = sorted(each.name for each in PARTS)
    assert all(one != other for one, other in pairwise(names))
