"""Windows of load, plans and targets as they travel and as records keep them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.report import describe_window, windows_table
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import KeptLoad, Latency, Loop, Mix, StageLoad, Window
from benchmarks.record import RecordError
from organseg.errors import InvalidInputError

LATENCY = Latency(1.5, 2.5, 3.5, 4.5, 2.0, 5.5)
WINDOW = Window(
    target="organ_seg",
    mix=Mix.SESSIONS,
    loop=Loop.OPEN,
    users=16,
    rate_per_s=4.0,
    seconds=10.0,
    answered=40,
    rejected=2,
    errors={"ServerFaultError": 1},
    per_second=4.0,
    latency=LATENCY,
    client_cpu_s=0.5,
    server_cpu_s=8.0,
    server_memory_mib=900.0,
    stages=(StageLoad("gate", 40, 20, 2.0, 0.1, 0.2),),
    cache={"image_features": KeptLoad(30, 10, 1 << 20, 0)},
    first_latency=LATENCY,
    follow_up_latency=LATENCY,
    turn=3,
    more={"cores": [0, 1]},
)


@pytest.mark.parametrize(
    "window",
    [
        WINDOW,
        replace(
            WINDOW,
            latency=None,
            stages=None,
            cache=None,
            server_cpu_s=None,
            server_memory_mib=None,
            first_latency=None,
            follow_up_latency=None,
            turn=None,
        ),
    ],
)
def test_a_window_comes_back_from_json_as_it_was(window: Window) -> None:
    assert Window.from_json(json.loads(json.dumps(window.to_json()))) == window


@pytest.mark.parametrize(
    "change", [{"mix": "other"}, {"latency": 3}, {"unknown": 1}, {"stages": 1}]
)
def test_another_document_is_refused_as_no_window(change: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="window of load"):
        Window.from_json({**WINDOW.to_json(), **change})


def test_a_plan_and_a_target_come_back_from_json_as_they_were() -> None:
    workload = WorkloadSpec(images=("a.png",), texts=("liver?",), serial=7, side=64)
    plan = LoadPlan(Mix.REPEATED, Loop.OPEN, 4, 2.5, requests=9, workload=workload)
    spec = TargetSpec(TargetKind.HTTP, "localhost:1", name="peer", tls=True)
    assert LoadPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert TargetSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"seconds": 1.0, "requests": 1},
        {"seconds": 1.0, "loop": Loop.OPEN},
        {"seconds": 1.0, "rate_per_s": 2.0},
    ],
)
def test_a_plan_without_one_length_or_with_the_wrong_rate_is_refused(
    wrong: dict[str, object],
) -> None:
    with pytest.raises(InvalidInputError):
        LoadPlan(Mix.DISTINCT, **wrong)  # type: ignore[arg-type]


def test_the_table_has_first_and_follow_up_questions_errors_rejections_and_hits() -> None:
    table = windows_table([WINDOW])
    row, first, follow_up = table.splitlines()[2:]
    assert "ServerFaultError 1" in row
    assert "image_features 75 %" in row
    assert "| 2 |" in row
    assert first.startswith("| … first question")
    assert follow_up.startswith("| … follow-up")
    assert {line.count("|") for line in table.splitlines()} == {15}
    assert "2 rejected, 1 errors" in describe_window(WINDOW)
