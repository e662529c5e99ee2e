"""From records to the flow: edges, times, processors, batches and GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.record import RecordError
from benchmarks.scaling.batches import measure_batches
from benchmarks.scaling.checking import compare, flow_of_check
from benchmarks.scaling.costs import (
    ASSUMED_FOLLOW_UP_SHARE,
    BETWEEN,
    fit_batches,
    flow_of,
    gpu_targets,
    on_gpu,
)
from benchmarks.scaling.flow import Flow, Pool, Site
from benchmarks.scaling.load_model import Load
from benchmarks.scaling.simulation import simulate

Record = dict[str, Any]


def times_of(record: Record) -> dict[str, float]:
    """What the record says that each stage takes."""
    return {row["name"]: row["compute_ms"] for row in record["stages"]}


def test_the_flow_is_the_contracts(stages: Record) -> None:
    flow = flow_of(stages)
    assert [stage.name for stage in flow.stages] == [*times_of(stages), BETWEEN]
    assert set(flow.stage("mask_decoder").after) >= {"image_features", "gate"}
    assert "image_encoder" in flow.stage("image_features").after
    assert flow.stage("extractors").after == ("llava_med",)
    # On a CPU nothing joins.
    assert {stage.max_batch for stage in flow.stages} == {1}


def test_a_lone_user_of_the_model_takes_what_was_measured(
    stages: Record, batches: list[Record]
) -> None:
    flow = flow_of(stages, batches, cpu_s_per_request=0.14)
    calm = Flow(tuple(replace(stage, variability=0.0) for stage in flow.stages))
    lone = simulate(calm, Site(cores=2.0), Load(users=1), requests=5, warm_up=1)
    for name, wanted_ms in times_of(stages).items():
        assert lone.execution_ms[name] == pytest.approx(wanted_ms, rel=1e-3)
    waits_ms = sum(flow.stage(name).delay_ms for name in ("image_encoder", "mask_decoder"))
    overhead_ms = stages["critical_path"]["overhead_ms"]
    assert lone.mean_ms == pytest.approx(6 + 60 + 2 + 9 + 5 + overhead_ms + waits_ms, rel=1e-3)


@pytest.mark.parametrize("cpu_s", [0.05, 0.14])
def test_a_request_of_the_model_uses_the_processors_that_were_measured(
    stages: Record, cpu_s: float
) -> None:
    flow = flow_of(stages, cpu_s_per_request=cpu_s)
    used_ms = sum(stage.batch_ms(1) * stage.width for stage in flow.stages)
    assert used_ms == pytest.approx(cpu_s * 1e3, rel=0.02)


def test_what_a_batch_takes_once_is_taken_from_the_measurement(
    stages: Record, batches: list[Record]
) -> None:
    encoder = flow_of(stages, batches).stage("image_encoder")
    assert encoder.fixed_ms == pytest.approx(30.0, rel=0.02)
    assert encoder.request_ms(8) == pytest.approx(30 / 8 + 30, rel=0.02)
    assert flow_of(stages).stage("image_encoder").fixed_ms == 0.0


def test_follow_ups_cost_what_was_measured_or_is_said_or_assumed(
    stages: Record, batches: list[Record]
) -> None:
    def share(flow: Flow) -> float:
        return flow.stage("llava_med").kept_share

    assert share(flow_of(stages)) == ASSUMED_FOLLOW_UP_SHARE
    assert share(flow_of(stages, batches)) == pytest.approx(0.2)
    assert share(flow_of(stages, batches, follow_up_share=0.5)) == 0.5
    assert flow_of(stages).stage("image_encoder").kept_share == 0.0


def test_the_line_through_batches_is_that_of_the_points_and_never_below_zero() -> None:
    assert fit_batches([(1, 5.0), (2, 7.0), (4, 11.0)]) == pytest.approx((3.0, 2.0))
    assert fit_batches([(1, 4.0)]) == (0.0, 4.0)
    assert fit_batches([(1, 1.0), (2, 3.0), (4, 7.0)])[0] == 0.0
    assert fit_batches([(1, 5.0), (2, 4.0)]) == (4.5, 0.0)


def test_stages_measured_on_a_gpu_move_there_by_their_fastest_engine(stages: Record) -> None:
    rows = [
        {
            "stage": stage,
            "engine": engine,
            "precision": "bf16",
            "batch": batch,
            "milliseconds": {"p50": ms},
        }
        for stage, engine, batch, ms in (
            ("image_encoder", "torch", 1, 9.0),
            ("image_encoder", "tensorrt", 1, 6.0),
            ("image_encoder", "tensorrt", 4, 12.0),
            ("llava_med", "torch", 1, 30.0),
            ("follow_up", "torch", 1, 10.0),
        )
    ]
    flow = on_gpu(flow_of(stages), rows)
    encoder, language = flow.stage("image_encoder"), flow.stage("llava_med")
    assert (encoder.fixed_ms, encoder.per_request_ms) == pytest.approx((4.0, 2.0))
    assert encoder.pool is language.pool is Pool.GPU
    assert language.kept_share == pytest.approx(1 / 3)
    assert flow.stage("mask_decoder").pool is Pool.CPU


def test_the_aims_for_a_gpu_stand_in_where_nobody_measured(stages: Record) -> None:
    flow = on_gpu(flow_of(stages), gpu_targets("llava-med-7b"))
    assert flow.stage("llava_med").batch_ms(1) == pytest.approx(35.0)
    with pytest.raises(RecordError, match="make bench-gpu"):
        gpu_targets("tiny")
    with pytest.raises(RecordError, match="make bench-gpu"):
        on_gpu(flow_of(stages), [])


def test_a_check_compares_every_case_with_the_model(measured: Record) -> None:
    rows = compare(measured, requests=200)
    assert [(row["servers"], row["users"]) for row in rows] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    lone = rows[0]
    # The windows say 95 ms, and so do the stage times that the model was fed with.
    assert lone["ratio"]["p50_ms"] == pytest.approx(1.0, abs=0.1)
    assert rows[1]["predicted"]["per_s"] > lone["predicted"]["per_s"]
    assert lone["predicted"]["per_s"] / 10.0 == pytest.approx(lone["ratio"]["per_s"])


def test_other_documents_are_refused_in_one_sentence(measured: Record) -> None:
    with pytest.raises(RecordError, match="measure again"):
        flow_of({"server": {"preset": "tiny"}})
    with pytest.raises(RecordError, match="'batches'"):
        flow_of_check({key: value for key, value in measured.items() if key != "batches"})


@pytest.mark.server
def test_batches_are_timed_on_a_running_server(server_address: str) -> None:
    costs = {
        cost.stage: cost for cost in measure_batches(server_address, "tiny", sizes=(1, 2), rounds=1)
    }
    # Those that join requests on a GPU, by the deployment table.
    assert set(costs) == {"image_encoder", "llava_med", "extractors", "mask_decoder"}
    for cost in costs.values():
        assert [size for size, _ in cost.times_ms] == [1, 2]
        assert all(ms > 0 for _, ms in cost.times_ms)
        assert 0.0 <= cost.fixed_share <= 1.0
