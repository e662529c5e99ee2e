"""The stage benchmark's results as a Markdown table and as a record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.stages import StageTimings
from benchmarks.statistics import ModelTimes
from benchmarks.workload import Workload

_HEADER = (
    "| stage | queue | input | infer | output | compute | in server | critical path |",
    "|---|--:|--:|--:|--:|--:|--:|:-:|",
)


def stages_table(timings: StageTimings, workload: Workload, origin: str) -> str:
    """Markdown: every stage, the latency at the client, the critical path; milliseconds.

    `origin` says in a few words what was measured on what.
    """
    path, latencies = timings.path, timings.latencies
    rows = [_row(times, times.name in path.stages) for times in timings.stages]
    measured = (latencies.mean, latencies.p50, latencies.p95, latencies.p99)
    lines = [
        f"Milliseconds of one request, mean of {timings.answered}; one user, one request at a "
        f"time; {workload.distinct_images} distinct images ({workload.source.value}), "
        f"{workload.distinct_texts} distinct questions. {origin}",
        "",
        *_HEADER,
        *rows,
        _row(timings.ensemble, False, " (queue to compute: sums over all stages)"),
        "",
        "| end to end, at the client | mean | p50 | p95 | p99 | errors |",
        "|---|--:|--:|--:|--:|--:|",
        f"| {timings.answered} requests | {' | '.join(f'{value:.2f}' for value in measured)} "
        f"| {sum(timings.errors.values())} |",
        "",
        f"Critical path: {' → '.join(path.stages)}; compute {path.compute_ms:.2f} ms.",
        "",
        "Overhead per hop = (mean end to end − compute on the critical path) / hops = "
        f"({path.end_to_end_ms:.2f} − {path.compute_ms:.2f}) / {path.hops} = "
        f"**{path.overhead_per_hop_ms:.2f} ms**. It holds queueing ({path.queue_ms:.2f} ms over "
        "the path: on a GPU heavy stages wait for company), scheduling, copies and the wire.",
    ]
    if timings.errors:
        named = ", ".join(f"{count} × {name}" for name, count in timings.errors.items())
        lines += ["", f"Failed requests, in none of the times: {named}."]
    if timings.other_requests:
        lines += [
            "",
            f"**Not clean:** the server ran {timings.other_requests} requests of others "
            "meanwhile; the stages' means hold them too.",
        ]
    return "\n".join(lines)


def stages_record(
    timings: StageTimings, workload: Workload, warm_up: int, about: dict[str, Any]
) -> dict[str, Any]:
    """The same and all of its making, as plain values for JSON; times in milliseconds."""
    path = timings.path
    return {
        "benchmark": "stages",
        **about,
        "users": 1,
        "requests": timings.answered + sum(timings.errors.values()),
        "answered": timings.answered,
        "warm_up_requests": warm_up,
        "errors": timings.errors,
        "other_requests": timings.other_requests,
        "images": {"source": workload.source.value, "distinct": workload.distinct_images},
        "questions": {"distinct": workload.distinct_texts},
        "end_to_end_ms": asdict(timings.latencies),
        "stages": [_times(times) for times in timings.stages],
        "ensemble": _times(timings.ensemble),
        "critical_path": {
            "stages": list(path.stages),
            "compute_ms": path.compute_ms,
            "queue_ms": path.queue_ms,
            "hops": path.hops,
            "overhead_ms": path.overhead_ms,
            "overhead_per_hop_ms": path.overhead_per_hop_ms,
        },
    }


def _row(times: ModelTimes, on_path: bool, note: str = "") -> str:
    values = (
        times.queue_ms,
        times.compute_input_ms,
        times.compute_infer_ms,
        times.compute_output_ms,
        times.compute_ms,
        times.in_server_ms,
    )
    cells = " | ".join(f"{value:.2f}" for value in values)
    return f"| `{times.name}`{note} | {cells} | {'●' if on_path else ''} |"


def _times(times: ModelTimes) -> dict[str, Any]:
    return {**asdict(times), "compute_ms": times.compute_ms}
