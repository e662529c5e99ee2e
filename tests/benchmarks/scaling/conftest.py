"""A stages record and a check's record whose times are chosen, in the form that commands write."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.load.window import Latency, Loop, Mix, Window
from benchmarks.scaling.batches import BatchCost
from benchmarks.stages import reckon
from benchmarks.stages_report import stages_record
from benchmarks.statistics import Counters
from benchmarks.workload import ImageSource, Question, Workload
from organseg.contract import ENSEMBLE_NAME

STAGE_MS = {
    "preprocess": 6,
    "image_encoder": 60,
    "image_features": 2,
    "llava_med": 40,
    "extractors": 4,
    "gate": 1,
    "mask_decoder": 9,
    "postprocess": 5,
}
"""Of a lone request, by two cores."""
END_TO_END_MS = [94.0, 95.0, 96.0, 100.0]
CPU_S = 0.14
"""Processor seconds of a request, all of it."""
_MACHINE = {"cpu": "a machine", "cores": 2, "load_average_1_min": 0.0}


@pytest.fixture
def stages() -> dict[str, Any]:
    """As `python -m benchmarks stages --json` writes it."""
    times = {
        name: Counters(4, 0, 4, 4 * ms * 10**6, (0, 0, 4 * ms * 10**6, 0))
        for name, ms in {**STAGE_MS, ENSEMBLE_NAME: 90}.items()
    }
    nothing = dict.fromkeys(times, Counters(0, 0, 0, 0, (0, 0, 0, 0)))
    timings = reckon(nothing, times, END_TO_END_MS, {})
    workload = Workload((Question(b"1", "liver"),), ImageSource.MADE_UP)
    about = {"machine": _MACHINE, "server": {"preset": "tiny", "release": {"platform": "python"}}}
    return stages_record(timings, workload, 0, about)


@pytest.fixture
def batches() -> list[dict[str, Any]]:
    """As `measure_batches` gives it: half of the image encoder's time is once a batch."""
    return [
        BatchCost("image_encoder", ((1, 60.0), (2, 90.0), (4, 150.0)), None).to_json(),
        BatchCost("llava_med", ((1, 40.0), (2, 80.0), (4, 160.0)), 0.2).to_json(),
    ]


@pytest.fixture
def measured(stages: dict[str, Any], batches: list[dict[str, Any]]) -> dict[str, Any]:
    """As `measure` of `checking` gives it before the model was asked."""
    windows = [
        Window(
            "organ_seg", Mix.DISTINCT, Loop.CLOSED, users, None, 10.0, 100, 0, {}, 10.0,
            Latency(95.0, 98.0, 100.0, 105.0, 96.0, 110.0),
            client_cpu_s=0.1 * CPU_S * 100,
            server_cpu_s=None if servers == 2 else 0.9 * CPU_S * 100,
            server_memory_mib=None,
            more={"servers": servers},
        )
        for servers in (1, 2)
        for users in (1, 4)
    ]  # fmt: skip
    return {
        "benchmark": "scaling",
        "made": "2026-01-01T00:00:00+00:00",
        "commit": None,
        "machine": _MACHINE,
        "server": stages["server"],
        "command": "python -m benchmarks scaling check",
        "stages_record": stages,
        "batches": batches,
        "windows": [window.to_json() for window in windows],
    }
