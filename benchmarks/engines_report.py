"""Tells the engine benchmark as a record and, rendered from it, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.engines import TORCH, StageComparison
from benchmarks.served_cost import ServedCost
from organseg.contract import CpuEngine

Record = dict[str, Any]

_LABELS = {
    TORCH: "torch eager, float32",
    "torch-bf16": "torch, autocast to bfloat16",
    CpuEngine.ONNXRUNTIME.value: "ONNX Runtime, float32",
    CpuEngine.OPENVINO.value: "OpenVINO, float32",
    CpuEngine.OPENVINO_BF16.value: "OpenVINO, bfloat16",
}


def engines_record(
    comparisons: Sequence[tuple[StageComparison, Sequence[CpuEngine]]],
    served: ServedCost,
    about: Record,
) -> Record:
    """All that was measured and its making, as plain values for JSON; times in seconds.

    Each comparison comes with the engines of the contract's table, best first.
    """
    return {
        "benchmark": "engines",
        **about,
        "stages": [_stage(comparison, table) for comparison, table in comparisons],
        "served": {**asdict(served), "overhead": served.overhead},
    }


def _stage(comparison: StageComparison, table: Sequence[CpuEngine]) -> Record:
    reference = next(run for run in comparison.runs if run.engine == TORCH)
    here = [run.engine for run in comparison.runs]
    return {
        "stage": comparison.stage,
        "threads": comparison.threads,
        "shapes": {name: list(shape) for name, shape in comparison.shapes.items()},
        "table": [engine.value for engine in table],
        "chosen": next(engine.value for engine in table if engine.value in here),
        "missing": comparison.missing,
        "engines": [
            {
                **asdict(run),
                "median_s": run.median_s,
                "median_cpu_s": run.median_cpu_s,
                "times_torch": reference.median_s / run.median_s,
                "times_torch_in_cpu": reference.median_cpu_s / run.median_cpu_s,
            }
            for run in comparison.runs
        ],
    }


def render(record: Record) -> str:
    """The report as Markdown."""
    weights = "the weights of this repository" if record["trained"] else "random weights"
    machine = record["machine"]
    lines = [
        f"# CPU engines of `{record['preset']}`",
        "",
        f"With {weights}, one request. The engines took turns in one process, "
        f"{record['turns']} times each, every time after a call that is not counted; medians. "
        "The difference is the largest from torch in float32, in the types that the next stage "
        "reads (half precision where the contract has it), absolute and as a share of the output's "
        "largest value or of one. The engine in bold is the one that a server takes here "
        "([decision 15](../../decisions/0015-cpu-engines.md)).",
    ]
    for stage in record["stages"]:
        lines += ["", *_table(stage)]
    lines += [
        "",
        *_served(record["served"]),
        "",
        f"`{record['command']}`, commit {_commit(record['commit'])}, {machine['cpu']}, "
        f"{machine['cores']} cores, load {machine['load_average_1_min']} before, "
        + ", ".join(f"{name} {version}" for name, version in record["packages"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _table(stage: Record) -> list[str]:
    shapes = ", ".join(
        f"{name} {' × '.join(map(str, shape))}" for name, shape in stage["shapes"].items()
    )
    threads = "1 thread" if stage["threads"] == 1 else f"{stage['threads']} threads"
    rows = []
    for run in stage["engines"]:
        label = _LABELS[run["engine"]]
        if run["engine"] == stage["chosen"]:
            label = f"**{label}**"
        load = "" if run["load_s"] is None else f"{run['load_s']:.2f} s"
        rows.append(
            f"| {label} | {_milliseconds(run['median_s'])} | {run['times_torch']:.2f} × "
            f"| {_milliseconds(run['median_cpu_s'])} | {run['times_torch_in_cpu']:.2f} × "
            f"| {run['max_difference']:.1e} "
            f"| {run['relative_difference']:.1e} | {load} |"
        )
    missing = [
        f"Not on this machine: {_LABELS[engine]} ({reason})."
        for engine, reason in stage["missing"].items()
    ]
    return [
        f"## `{stage['stage']}`",
        "",
        f"{threads}; {shapes}.",
        "",
        "| engine | a call | than torch | CPU time | than torch | difference | share | load |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *rows,
        *(["", *missing] if missing else []),
    ]


def _served(served: Record) -> list[str]:
    return [
        "## Served by the embedded server",
        "",
        f"{served['requests']} requests, one at a time, the engine alone called after each in "
        "another process. CPU time, means:",
        "",
        f"| engine of `{served['stage']}` alone | its process, a request | more | all processes, "
        "a request | a request takes |",
        "|--:|--:|--:|--:|--:|",
        f"| {_milliseconds(served['engine_cpu_s'])} | {_milliseconds(served['stage_cpu_s'])} "
        f"| {served['overhead']:+.1%} | {_milliseconds(served['server_cpu_s'])} "
        f"| {_milliseconds(served['median_s'])} |",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds * 1e3:,.0f} ms"


def _commit(commit: Record | None) -> str:
    if commit is None:
        return "unknown"
    return f"{commit['id'][:12]}{' with changes' if commit['modified'] else ''}"
