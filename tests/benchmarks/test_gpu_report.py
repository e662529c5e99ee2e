"""The report of a record: times beside floors, targets with what became of them."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.gpu.chips import chip_of
from benchmarks.gpu.floors import Work, floor_of
from benchmarks.gpu.report import render
from benchmarks.gpu.rows import stage_row, work_row
from benchmarks.gpu.timing import Timing
from benchmarks.stages import summarise_latencies
from export.precision import Precision

H200 = chip_of("NVIDIA H200")
WORK = Work(operations=989_500_000_000, weight_bytes=200_000_000, activation_bytes=3_000_000)


def record(**changes) -> dict:
    timing = Timing(summarise_latencies([4.0, 4.0, 5.0]), 3, 2_000_000_000, 3_500_000_000)
    floor = floor_of(WORK, H200, Precision.BF16)
    return {
        "preset": "llava-med-7b",
        "precision": "bf16",
        "language_dtype": "bfloat16",
        "device": {"kind": "cuda", "gpu": "NVIDIA H200", "cuda": "13.0", "tensorrt": None},
        "machine": {"cpu": "a CPU"},
        "commit": {"id": "0123456789abcdef", "modified": True},
        "made": "2026-11-24T12:00:00+00:00",
        "packages": {"torch": "2.13.0"},
        "chip": asdict(H200),
        "rounds": {"warm_up": 1, "timed": 3},
        "prompts": 1,
        "prompt_tokens": {"prefix": 669, "prompt": 680, "follow_up": 64},
        "stages": [stage_row("image_encoder", "tensorrt", 1, Precision.BF16, timing, floor)],
        "work": [work_row("image_encoder", 1, Precision.BF16, WORK)],
        "targets": [
            {"title": "encoder", "limit_ms": 6.0, "measured_ms": 4.0, "outcome": "met"},
            {"title": "prefill", "limit_ms": 35.0, "measured_ms": None, "outcome": "not measured"},
        ],
        "skipped": [{"what": "server", "reason": "no release"}],
        **changes,
    }


def test_a_time_stands_beside_its_floor_and_its_share():
    report = render(record())
    assert report.startswith("# `llava-med-7b` on NVIDIA H200\n")
    assert (
        "| `image_encoder` | 1 | tensorrt | bf16 | 4.00 | 4.90 | 3 | 1.00 | operations | 25 % "
        "| 2.00 GB | 3.50 GB |"
    ) in report
    assert "| `image_encoder` | 1 | bf16 | 989.5 | 200.0 MB | 3.0 MB |" in report
    assert "4800 GB/s" in report
    assert "commit 0123456789ab with changes" in report


def test_targets_say_what_became_of_them_and_what_was_left_out_has_its_reason():
    report = render(record())
    assert "| encoder | 6 ms | 4.00 | met |" in report
    assert "| prefill | 35 ms | – | not measured |" in report
    assert "- server: no release" in report


def test_on_an_unknown_chip_there_are_times_and_no_floors():
    timing = Timing(summarise_latencies([4.0]), 1, None, None)
    row = stage_row("llava_med", "torch", 1, Precision.BF16, timing, None)
    report = render(record(chip=None, stages=[row], targets=[], commit=None))
    assert "**No floors:**" in report
    assert "| 4.00 | 4.00 | 1 | – | – | – | – | – |" in report
    assert "No target speaks of models of these sizes." in report
    assert "commit unknown" in report
