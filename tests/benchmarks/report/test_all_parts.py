"""All parts in a row: failures are passed, finished parts are kept, the report comes last."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks import all_command
from benchmarks.__main__ import build_parser, main
from benchmarks.all_parts import PARTS, Part
from benchmarks.all_running import Outcome, Run, run_parts
from benchmarks.load.plan import WorkloadSpec
from benchmarks.record import read_record
from benchmarks.workload import REPO_ROOT, made_up_picture

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


def commit_is(monkeypatch, letter: str, *, modified: bool = False) -> None:
    found = {"id": 40 * letter, "modified": modified}
    monkeypatch.setattr("benchmarks.all_running.describe_commit", lambda _: found)


@pytest.fixture
def run(tmp_path, monkeypatch):
    # Whatever is being written in this checkout.
    commit_is(monkeypatch, "a")
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
    commit_is(monkeypatch, "f")
    assert outcomes(run, [part("one")])[0] == [Outcome.DONE]


def test_nothing_is_kept_of_uncommitted_changes(run, monkeypatch):
    parts = [part("one")]
    commit_is(monkeypatch, "a", modified=True)
    outcomes(run, parts)
    assert outcomes(run, parts)[0] == [Outcome.DONE]
    commit_is(monkeypatch, "a")
    assert outcomes(run, parts)[0] == [Outcome.DONE]
    assert outcomes(run, parts)[0] == [Outcome.KEPT]
    commit_is(monkeypatch, "a", modified=True)
    assert outcomes(run, parts)[0] == [Outcome.DONE]


def test_other_images_questions_or_seeds_are_measured_anew(run, tmp_path):
    parts, image = [part("one")], tmp_path / "slice.png"
    image.write_bytes(b"one picture")
    own = replace(run, inputs=WorkloadSpec(images=(str(image),)))
    for other in (run, own, replace(run, inputs=WorkloadSpec(texts=("a?",), seed=1)), own):
        assert outcomes(other, parts)[0] == [Outcome.DONE]
    assert outcomes(own, parts)[0] == [Outcome.KEPT]
    image.write_bytes(b"another picture of the same name")
    assert outcomes(own, parts)[0] == [Outcome.DONE]


def test_what_is_kept_about_a_run_names_neither_questions_nor_images(run, tmp_path):
    image = tmp_path / "patient.png"
    image.write_bytes(b"a picture")
    inputs = WorkloadSpec(images=(str(image),), texts=("Is it the liver?",))
    outcomes(replace(run, inputs=inputs), [part("one")])
    state = (run.folder / "logs" / "parts.json").read_text()
    assert "one" in state
    assert "patient" not in state
    assert "liver" not in state


def test_a_server_named_by_address_is_asked_anew_with_the_images_and_questions(run):
    inputs = WorkloadSpec(images=("/a.png", "/b.png"), texts=("Which organ?",), seed=3)
    served = replace(run, release=None, url="triton.example:8001", inputs=inputs)
    parts = [part("one")]
    outcomes(served, parts)
    assert outcomes(served, parts)[0] == [Outcome.DONE]
    log = (run.folder / "logs" / "one.log").read_text()
    assert log.split() == [
        *("sound", "--url", "triton.example:8001", "--long"),
        *("--images", "/a.png", "/b.png", "--questions", "Which", "organ?", "--seed", "3"),
        *("--json", str(run.folder / "one.json")),
    ]


def test_being_told_to_stop_is_handed_on_to_the_part_that_runs(tmp_path):
    out = tmp_path / "out"
    # In a process of its own: the signal must not find the one that runs the tests.
    driver = (
        "import sys\n"
        "from pathlib import Path\n"
        "from benchmarks.all_parts import Part\n"
        "from benchmarks.all_running import Run, run_parts\n"
        "from benchmarks.stopping import sigterm_unwinds\n"
        "run = Run(None, 'tiny', Path(sys.argv[1]), url='triton.example:8001',\n"
        "          program=(sys.executable, '-c', sys.argv[2]))\n"
        "parts = [Part(each, 'words', 'endless', {'tiny': 100}, 2) for each in ('one', 'two')]\n"
        "with sigterm_unwinds():\n"
        "    list(run_parts(run, parts, print))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", driver, str(out), PROGRAM], cwd=REPO_ROOT
    ) as process:
        log = out / "logs" / "one.log"
        try:
            deadline = time.monotonic() + 60
            while not (log.is_file() and "ready" in log.read_text()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert "its servers were stopped" in log.read_text()
    assert not (out / "two.json").exists()


def test_every_part_takes_the_arguments_that_it_is_given(run):
    parser = build_parser()
    inputs = WorkloadSpec(images=("/a.png", "/b.png"), texts=("a?", "b?"), seed=3)
    forms = (
        run,
        replace(run, is_quick=True),
        replace(run, preset="medsam"),
        replace(run, inputs=inputs),
    )
    for each in PARTS:
        for form in forms:
            served = replace(form, release=None, url="triton.example:8001")
            for whole in (form,) if each.is_local else (form, served):
                options = parser.parse_args(whole.command(each)[len(run.program) :])
                assert options.json == run.record(each)
                assert options.release == whole.release
                assert each.is_local or options.url == whole.url
                assert tuple(map(str, options.images)) == whole.inputs.images
                assert tuple(options.questions) == whole.inputs.texts
                assert options.seed == whole.inputs.seed


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


def test_peers_named_with_an_address_are_refused_with_a_remedy(tmp_path, capsys):
    arguments = ["--url", "127.0.0.1:1", "--out", str(tmp_path / "out")]
    assert main(["all", *arguments, "--only", "load", "peers"]) == 1
    said = capsys.readouterr().err
    assert "got peers" in said
    assert "leave it out of --only, or name a --release" in said
    assert not (tmp_path / "out").exists()


def test_peers_are_left_out_with_an_address_and_a_server_that_is_not_there_is_one_line(
    tmp_path, capsys
):
    assert main(["all", "--url", "127.0.0.1:1", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.out == (
        "Without peers, which compares servers on this machine: it wants --release.\n"
    )
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_is_named_before_any_part_runs(tmp_path, capsys):
    arguments = ["--url", "127.0.0.1:1", "--out", str(tmp_path / "out"), "--only", "load"]
    assert main(["all", *arguments, "--images", str(tmp_path / "gone.png")]) == 1
    assert "'gone.png'" in capsys.readouterr().err


@pytest.mark.server
def test_a_running_server_is_measured_with_own_images_and_questions(server_address, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(made_up_picture(20_261_130))
    out = tmp_path / "out"
    arguments = ["--url", server_address, "--out", str(out), "--only", "follow-up", "--quick"]
    arguments += ["--images", str(picture), "--questions", "Show me the liver."]
    assert main(["all", *arguments]) == 0
    record = read_record(out / "follow-up.json")
    (server,) = record["servers"].values()
    assert (server["address"], server["preset"]) == (server_address, "tiny")
    assert record["workload"]["images"] == "the files given"
    assert "| `follow-up` | tiny |" in (out / "report.md").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_bench_asks_a_server_by_its_address_and_exports_nothing():
    done = subprocess.run(
        ["make", "-n", "-C", str(REPO_ROOT), "bench", "URL=triton.example:8001"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    wanted = "benchmarks all --url triton.example:8001 --out build/benchmarks/triton.example-8001"
    assert wanted in done.stdout
    assert "-m export" not in done.stdout


def test_parts_have_records_of_their_own():
    names = sorted(each.name for each in PARTS)
    assert all(one != other for one, other in pairwise(names))
