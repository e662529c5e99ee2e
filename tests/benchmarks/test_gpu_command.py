"""`python -m benchmarks gpu` from the command line to record and report, at toy width on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.gpu.timing import Rounds, Skipped, reason_of, time_in_turn
from organseg.errors import EngineError

QUICK = ["--preset", "tiny", "--device", "cpu", "--rounds", "2", "--warm-up", "1", "--batches", "1"]


def bench(out: Path, *more: str) -> tuple[int, dict, str]:
    status = main(["gpu", *QUICK, "--out", str(out), *more])
    record = json.loads((out / "tiny.json").read_text())
    return status, record, (out / "tiny.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_part_runs_on_a_cpu_and_what_cannot_is_left_out_with_its_reason(tmp_path: Path):
    engines = ["torch", "onnxruntime-cpu", "tensorrt"]
    status, record, report = bench(tmp_path, "--engines", *engines)
    assert status == 0
    measured = {(row["stage"], row["engine"]) for row in record["stages"]}
    assert measured == {
        *((stage, "torch") for stage in ("image_encoder", "extractors", "mask_decoder")),
        *((stage, "onnxruntime-cpu") for stage in ("image_encoder", "extractors", "mask_decoder")),
        *(("llava_med", "torch"), ("follow_up", "torch"), ("follow_up", "torch.compile")),
        *(("request", "torch"), ("request_again", "torch")),
    }
    for row in record["stages"]:
        times = row["milliseconds"]
        assert 0 < times["min"] <= times["p50"] <= times["p95"]
        assert (row["calls"], row["batch"], row["floor"]) == (2, 1, None)
    assert {row["stage"] for row in record["work"]} == {
        *("image_encoder", "extractors", "mask_decoder", "llava_med", "follow_up")
    }
    reasons = {each["what"]: each["reason"] for each in record["skipped"]}
    assert "no --release DIR" in reasons["server"]
    assert "wanted a GPU for a CUDA graph" in reasons["follow_up, CUDA graph, batch 1"]
    assert "wanted the package tensorrt" in reasons["image_encoder, tensorrt"]
    assert record["chip"] is None
    assert record["device"]["torch.compile"] == "traced, not compiled"
    assert record["commit"]
    assert record["packages"]["torch"]
    assert "**No floors:**" in report
    for stage, engine in measured:
        assert f"| `{stage}` | 1 | {engine} |" in report
    assert all(f"- {what}: {reason}" in report for what, reason in reasons.items())


def test_one_part_alone_is_measured_and_the_others_are_said_to_be_left_out(tmp_path: Path):
    status, record, _ = bench(tmp_path, "--parts", "language")
    assert status == 0
    assert {row["stage"] for row in record["stages"]} == {"llava_med", "follow_up"}
    left = {each["what"]: each["reason"] for each in record["skipped"]}
    assert left["stages"] == left["requests"] == left["server"] == "not asked for (--parts)"


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_release_is_asked_through_the_embedded_server(release: Path, tmp_path: Path):
    status, record, _ = bench(tmp_path, "--parts", "server", "--release", str(release))
    assert status == 0
    (row,) = record["stages"]
    assert (row["stage"], row["engine"], row["calls"]) == ("request_served", "embedded server", 2)


def test_a_run_that_measures_nothing_ends_with_a_status_of_its_own(tmp_path: Path):
    status, record, report = bench(tmp_path, "--parts", "server")
    assert status == 1
    assert record["stages"] == []
    assert "Nothing was measured." in report


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_one_line_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["gpu", "--preset", "medsam", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("benchmarks: wanted a GPU that torch can use, got ")
    assert "--device cpu" in line
    assert not list(tmp_path.iterdir())


def test_contenders_take_turns_and_one_that_fails_is_left_out(cpu):
    order: list[str] = []

    def fails() -> None:
        raise ValueError("no kernel in /opt/somewhere/lib.so for this\nand more")

    contenders = {"a": lambda: order.append("a"), "b": lambda: order.append("b"), "c": fails}
    timings, skipped = time_in_turn(cpu, contenders, Rounds(warm_up=1, timed=3))
    assert order == ["a", "a", "b", "b", *("a", "b") * 3]
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 3, "b": 3}
    assert skipped == [Skipped("c", "ValueError: no kernel in … for this")]


def test_contenders_run_without_autograd(cpu):
    modes: list[bool] = []
    time_in_turn(cpu, {"a": lambda: modes.append(torch.is_grad_enabled())}, Rounds(1, 1))
    assert modes == [False] * 3


def test_our_own_errors_are_reasons_as_they_are():
    assert reason_of(EngineError("wanted a GPU, got none")) == "wanted a GPU, got none"
