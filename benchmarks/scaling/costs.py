"""From measured records to a flow: what each stage costs, on what, and after which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.gpu.targets import LANGUAGE, targets_of
from benchmarks.gpu.work import FOLLOW_UP, LANGUAGE_STAGE
from benchmarks.record import RecordError
from benchmarks.scaling.flow import Flow, Pool, Site, Stage
from benchmarks.scaling.load_model import Load
from benchmarks.scaling.simulation import simulate
from organseg.contract import Model, Platform, deployment_of, models_of, preset_by_name

BETWEEN = "between stages"
"""The model's last stage: hops, copies, the wire and the client, which no stage's time holds."""
FULL_BATCH = 8
"""Requests that Triton joins at most: `max_batch_size` of every model of a release."""
ASSUMED_FOLLOW_UP_SHARE = 0.35
"""Work of the language model for a follow-up where nobody measured it: the project's aim."""
_KEPT = {"preprocess": 0.0, "image_encoder": 0.0}
_P95_OF_NORMAL = 1.645
_CALIBRATIONS = 20

Record = Mapping[str, Any]


def flow_of(
    stages: Record,
    batches: Sequence[Record] = (),
    *,
    cpu_s_per_request: float | None = None,
    follow_up_share: float | None = None,
) -> Flow:
    """The flow of a server that was measured with one user.

    Args:
        stages: the record of `python -m benchmarks stages --json`.
        batches: rows of `measure_batches`. Without them a batch of b is taken to cost b single
            requests, which is never too little.
        cpu_s_per_request: processor seconds of server and client for one request, by which the
            cores that are busy between stages are reckoned; one core without it.
        follow_up_share: the language model's work for a follow-up; measured, or the aim, if None.

    Raises:
        RecordError: not such a record.
    """
    try:
        return _flow(stages, batches, cpu_s_per_request, follow_up_share)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            "wanted a record of `python -m benchmarks stages --json` or `scaling check --json`, "
            f"got another document ({type(error).__name__}): measure again with this version"
        ) from None


def _flow(
    record: Record,
    batches: Sequence[Record],
    cpu_s_per_request: float | None,
    follow_up_share: float | None,
) -> Flow:
    preset = preset_by_name(record["server"]["preset"])
    release = record["server"].get("release")
    platform = Platform(release["platform"]) if release else Platform.PYTHON
    times = {row["name"]: row for row in record["stages"]}
    models = [model for model in models_of(preset) if model.name in times]
    after = _edges(models)
    measured = {row["stage"]: row for row in batches}
    variability = _variability(record)
    flow: list[Stage] = []
    for model in models:
        deployed = deployment_of(preset, platform, model)
        row = measured.get(model.name, {})
        # Of a stage that asks another one the wait is not in it.
        own_ms = float(times[model.name]["compute_ms"])
        fixed_ms = own_ms * float(row.get("fixed_share", 0.0))
        kept = _KEPT.get(model.name, float(row.get("kept_share") or 1.0))
        if model.name == LANGUAGE_STAGE:
            kept = _first(follow_up_share, row.get("kept_share"), ASSUMED_FOLLOW_UP_SHARE)
        flow.append(
            Stage(
                model.name,
                per_request_ms=own_ms - fixed_ms,
                fixed_ms=fixed_ms,
                after=after[model.name],
                pool=Pool.GPU if deployed.on_gpu else Pool.CPU,
                width=1.0 if deployed.on_gpu else float(deployed.threads),
                instances=deployed.instances,
                max_batch=FULL_BATCH if deployed.joins_requests else 1,
                delay_ms=deployed.queue_delay_microseconds / 1e3 if deployed.joins_requests else 0,
                variability=variability,
                kept_share=kept,
            )
        )
    path = record["critical_path"]
    between_ms = max(0.0, float(path["overhead_ms"]) - float(path["queue_ms"]))
    between = Stage(
        BETWEEN, between_ms, after=(models[-1].name,), instances=None, variability=variability
    )
    cores = float(record["machine"]["cores"])
    whole = _with_cpu(flow, between, cpu_s_per_request, cores)
    # A lone request never meets another on the GPU but its own other branch.
    return _alone(whole, Site(cores=cores, gpus=1.0))


def _alone(flow: Flow, site: Site) -> Flow:
    """The flow whose stages, played for one user, take the times that `flow` has them take.

    The branches of a lone request slow each other down where they want more cores than there are.
    That is in the measured times, and the model would add it a second time.
    """
    wanted = {stage.name: stage.batch_ms(1) for stage in flow.stages}
    calm = Flow(tuple(replace(stage, variability=0.0) for stage in flow.stages))
    scale = dict.fromkeys(wanted, 1.0)
    for _ in range(_CALIBRATIONS):
        outcome = simulate(_scaled(calm, scale), site, Load(users=1), requests=1, warm_up=1)
        for name, taken_ms in outcome.execution_ms.items():
            if taken_ms > 0:
                scale[name] *= wanted[name] / taken_ms
    return _scaled(flow, scale)


def _scaled(flow: Flow, scale: Mapping[str, float]) -> Flow:
    return Flow(
        tuple(
            replace(
                stage,
                fixed_ms=stage.fixed_ms * scale[stage.name],
                per_request_ms=stage.per_request_ms * scale[stage.name],
            )
            for stage in flow.stages
        )
    )


def _edges(models: Sequence[Model]) -> dict[str, tuple[str, ...]]:
    """Which stages each waits for: those that write what it reads, and those that it asks."""
    writers = {tensor.name: model.name for model in models for tensor in model.outputs}
    edges: dict[str, tuple[str, ...]] = {}
    for model in models:
        names = [writers[tensor.name] for tensor in model.inputs if tensor.name in writers]
        names += _asked_by(model, models)
        edges[model.name] = tuple(dict.fromkeys(name for name in names if name in edges))
    return edges


def _asked_by(model: Model, models: Sequence[Model]) -> list[str]:
    """Stages whose tensors this later one writes too: it keeps them and asks when it has none."""
    written = {tensor.name for tensor in model.outputs}
    earlier = models[: [each.name for each in models].index(model.name)]
    return [other.name for other in earlier if written & {tensor.name for tensor in other.outputs}]


def _variability(record: Record) -> float:
    """The stages' common squared coefficient of variation, from the spread of lone latencies.

    Stages of the critical path are taken to vary each for itself, so their variances add up; the
    spread is that from the median to the 95th percentile, as if normal.
    """
    latencies = record["end_to_end_ms"]
    deviation = max(0.0, latencies["p95"] - latencies["p50"]) / _P95_OF_NORMAL
    path = record["critical_path"]
    on_path = [row["compute_ms"] for row in record["stages"] if row["name"] in path["stages"]]
    squares = sum(value**2 for value in (*on_path, path["overhead_ms"]))
    return float(min(1.0, deviation**2 / squares))


def _with_cpu(
    flow: Sequence[Stage], between: Stage, cpu_s_per_request: float | None, cores: float
) -> Flow:
    """The flow that uses so much of the processors as was measured, if it was.

    The service demand law (Denning and Buzen, 1978): what a request takes of the cores is the
    time that they were busy by the number of answers. What the stages do not explain is done
    between them; where they explain more than there was, they waited without working.
    """
    if cpu_s_per_request is None:
        return Flow((*flow, between))
    wanted_ms = cpu_s_per_request * 1e3
    held_ms = sum(stage.batch_ms(1) * stage.width for stage in flow if stage.pool is Pool.CPU)
    if held_ms <= wanted_ms and between.per_request_ms > 0:
        rest = min(cores, (wanted_ms - held_ms) / between.per_request_ms)
        return Flow((*flow, replace(between, width=rest)))
    share = min(1.0, wanted_ms / held_ms) if held_ms else 1.0
    shrunk = (
        replace(stage, width=stage.width * share) if stage.pool is Pool.CPU else stage
        for stage in flow
    )
    return Flow((*shrunk, replace(between, width=0.0)))


def on_gpu(flow: Flow, rows: Sequence[Record]) -> Flow:
    """The flow with stages on a GPU that it was measured on: rows of `docs/results/gpu/*.json`.

    Of each stage the fastest engine at batch 1 counts, with the line through its batches.
    Stages that the rows do not name stay where they are. Raises `RecordError` where they name none.
    """
    if not {row.get("stage") for row in rows} & {stage.name for stage in flow.stages}:
        raise RecordError(
            "wanted times of the flow's stages on a GPU, got none: give a record of "
            "`make bench-gpu` with --gpu"
        )
    stages = []
    for stage in flow.stages:
        own = [row for row in rows if row["stage"] == stage.name]
        if not own:
            stages.append(stage)
            continue
        single = [row for row in own if row["batch"] == 1] or own
        fastest = min(single, key=_median)
        line = [
            (row["batch"], _median(row))
            for row in own
            if (row["engine"], row["precision"]) == (fastest["engine"], fastest["precision"])
        ]
        fixed_ms, per_request_ms = fit_batches(line)
        kept = stage.kept_share
        again = [_median(row) for row in rows if row["stage"] == FOLLOW_UP]
        if stage.name == LANGUAGE_STAGE and again:
            kept = min(1.0, min(again) / (fixed_ms + per_request_ms))
        stages.append(
            replace(
                stage,
                fixed_ms=fixed_ms,
                per_request_ms=per_request_ms,
                pool=Pool.GPU,
                width=1.0,
                kept_share=kept,
            )
        )
    return Flow(tuple(stages))


def gpu_targets(preset: str) -> list[Record]:
    """Rows as of a measurement, from what the project aims at on one H200: assumptions.

    Raises `RecordError` for a preset that no target speaks of.
    """
    targets = [target for target in targets_of(preset_by_name(preset)) if target != LANGUAGE[-1]]
    if not targets:
        raise RecordError(
            f"wanted a preset that GPU targets speak of, got {preset}: give a record of "
            "`make bench-gpu` with --gpu"
        )
    return [
        {
            "stage": target.what,
            "engine": "target",
            "precision": "",
            "batch": 1,
            "milliseconds": {"p50": target.limit_ms},
        }
        for target in targets
    ]


def fit_batches(times: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """The line a + d b through (batch, milliseconds), least squares, neither below zero.

    One batch size alone says nothing of the fixed part: it is then 0.
    """
    sizes = np.array([float(batch) for batch, _ in times])
    values = np.array([value for _, value in times])
    if len(set(sizes)) < 2:
        return 0.0, float(np.mean(values / sizes))
    slope, fixed = (float(value) for value in np.polyfit(sizes, values, 1))
    if fixed < 0:
        return 0.0, float((sizes * values).sum() / (sizes**2).sum())
    if slope < 0:
        return float(values.mean()), 0.0
    return fixed, slope


def _median(row: Record) -> float:
    return float(row["milliseconds"]["p50"])


def _first(*values: float | None) -> float:
    return next(float(value) for value in values if value is not None)
