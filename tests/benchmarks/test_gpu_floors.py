"""Chips, floors and targets, by hand."""

from __future__ import annotations

import pytest

from benchmarks.gpu.chips import CHIPS, chip_of
from benchmarks.gpu.floors import Floor, Work, floor_of
from benchmarks.gpu.rows import request_floor
from benchmarks.gpu.targets import Outcome, judge, targets_of
from export.precision import Precision
from organseg.contract import LLAVA_MED_7B, MEDSAM, TINY

H200, T4 = chip_of("NVIDIA H200"), chip_of("Tesla T4")


def test_a_floor_is_the_longer_of_operations_over_rate_and_bytes_over_bandwidth():
    # 989.5 TFLOP/s and 4.8 TB/s: a thousandth of a second of each, then twice the bytes.
    work = Work(
        operations=989_500_000_000, weight_bytes=4_000_000_000, activation_bytes=800_000_000
    )
    floor = floor_of(work, H200, Precision.BF16)
    assert (floor.operations_ms, floor.bytes_ms) == (pytest.approx(1.0), pytest.approx(1.0))
    more = floor_of(work.plus(Work(0, 4_800_000_000, 0)), H200, Precision.BF16)
    assert (more.milliseconds, more.bound_by) == (pytest.approx(2.0), "bytes")
    assert more.percent_of(8.0) == pytest.approx(25.0)


def test_float32_has_a_rate_of_its_own():
    work = Work(operations=67_000_000_000, weight_bytes=0, activation_bytes=0)
    floor = floor_of(work, H200, Precision.FP32)
    assert (floor.milliseconds, floor.bound_by) == (pytest.approx(1.0), "operations")


def test_without_a_known_rate_there_is_no_floor():
    work = Work(1, 1, 1)
    assert floor_of(work, None, Precision.BF16) is None
    # Turing has no bfloat16.
    assert floor_of(work, T4, Precision.BF16) is None
    assert floor_of(work, T4, Precision.FP16) is not None


def test_a_chip_is_known_by_its_whole_name_alone():
    assert chip_of("NVIDIA H100 80GB HBM3").name == "H100 SXM"
    assert chip_of("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert chip_of("NVIDIA GeForce RTX 4090") is None


def test_no_two_chips_share_a_name_and_half_precision_is_faster_everywhere():
    names = [name for chip in CHIPS for name in chip.driver_names]
    assert len(set(names)) == len(names)
    for chip in CHIPS:
        assert chip.fp16_tflops > chip.fp32_tflops
        assert chip.bf16_tflops in (None, chip.fp16_tflops)


def test_a_requests_branches_share_the_chip_so_their_work_adds_up():
    one = (Work(989_500_000_000, 0, 0), Precision.BF16)
    other = (Work(0, 14_400_000_000, 0), Precision.FP32)
    assert request_floor({"a": one, "b": other}, H200) == Floor(
        pytest.approx(1.0), pytest.approx(3.0)
    )
    assert request_floor({"a": one, "b": other}, None) is None


def row(stage: str, p50: float, *, batch: int = 1, precision: str = "bf16") -> dict:
    return {"stage": stage, "batch": batch, "precision": precision, "milliseconds": {"p50": p50}}


def outcomes(rows: list[dict], chip) -> dict[str, tuple[float | None, Outcome]]:
    verdicts = judge(targets_of(LLAVA_MED_7B), rows, chip)
    return {each.target.what: (each.measured_ms, each.outcome) for each in verdicts}


def test_the_fastest_way_at_batch_one_is_held_against_the_target():
    rows = [
        row("image_encoder", 7.0),
        row("image_encoder", 5.5),
        row("image_encoder", 1.0, batch=4),
        row("image_encoder", 1.0, precision="fp32"),
        row("llava_med", 36.0),
        row("request", 60.0),
    ]
    assert outcomes(rows, H200) == {
        "image_encoder": (5.5, Outcome.MET),
        "llava_med": (36.0, Outcome.MISSED),
        "follow_up": (None, Outcome.NOT_MEASURED),
        "request": (60.0, Outcome.MET),
    }


def test_a_time_of_another_chip_neither_meets_nor_misses_a_target():
    assert outcomes([row("llava_med", 1.0)], T4)["llava_med"] == (1.0, Outcome.OTHER_CHIP)
    assert outcomes([row("llava_med", 1.0)], None)["llava_med"] == (1.0, Outcome.OTHER_CHIP)


def test_targets_speak_of_models_at_full_size_alone():
    assert [target.what for target in targets_of(MEDSAM)] == ["image_encoder"]
    assert targets_of(TINY) == ()
