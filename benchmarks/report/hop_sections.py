"""One request at a time: its stages in process and through Triton, and the overhead per hop."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import stacked_bars
from benchmarks.report.records import Document, Kind, PresetRecords
from benchmarks.report.wording import (
    MISSING,
    counted,
    milliseconds,
    whole,
)


def hop_blocks(records: PresetRecords) -> Iterator[Block]:
    """In process, through Triton, and the overhead per hop; nothing without such a record."""
    record = records.latest(Kind.STAGES)
    if record is None:
        return
    document = record.document
    stages, path = document["stages"], document["critical_path"]
    alone: Document = document.get("in_process") or {}
    yield Text(
        f"One user, one request at a time, the mean of {counted(document['answered'], 'request')}. "
        f"Critical path: {' → '.join(path['stages'])}."
    )
    if alone:
        yield Text(
            "In process, without a server, a stage has all cores to itself; through Triton those "
            "of both branches share them. Overhead per hop = (mean end to end − in-process "
            f"critical path) / hops = ({milliseconds(document['end_to_end_ms']['mean'])} − "
            f"{milliseconds(alone['critical_path_ms'])}) / {alone['hops']} = "
            f"**{milliseconds(alone['overhead_per_hop_ms'])} ms**."
        )
    yield Text(
        "By Triton's own times: overhead per hop = (mean end to end − compute on the critical "
        f"path) / hops = ({milliseconds(document['end_to_end_ms']['mean'])} − "
        f"{milliseconds(path['compute_ms'])}) / {path['hops']} = "
        f"**{milliseconds(path['overhead_per_hop_ms'])} ms**."
    )

    def draw() -> Figure:
        panels = {"through Triton": {s["name"]: (s["compute_ms"], s["queue_ms"]) for s in stages}}
        if alone:
            inside = {name: (value, 0.0) for name, value in alone["stages_ms"].items()}
            panels = {"in process": inside, **panels}
        longest = max(sum(parts) for bars in panels.values() for parts in bars.values())
        return stacked_bars(panels, ("compute", "queue"), "ms of a request", 1.05 * longest)

    yield Plot(
        "Stages of one request",
        "Bars, one for each stage: milliseconds in process, and milliseconds of computing and of "
        "queueing through Triton; the table below holds the same numbers.",
        draw,
    )
    yield Table(
        "Milliseconds of one request",
        ("stage", "in process", "through Triton", "more", "queue", "in server", "on the path"),
        tuple(_stage_row(stage, alone, path["stages"]) for stage in stages),
    )
    latencies = document["end_to_end_ms"]
    yield Table(
        "End to end at the client, milliseconds",
        ("answered", *latencies, "errors"),
        (
            (
                whole(document["answered"]),
                *map(milliseconds, latencies.values()),
                whole(sum(document["errors"].values())),
            ),
        ),
        text_columns=0,
    )


def _stage_row(stage: Document, alone: Document, path: list[str]) -> tuple[str, ...]:
    compute_ms = stage["compute_ms"]
    alone_ms = alone.get("stages_ms", {}).get(stage["name"])
    return (
        f"`{stage['name']}`",
        milliseconds(alone_ms),
        milliseconds(compute_ms),
        MISSING if alone_ms is None else f"{compute_ms - alone_ms:+.2f}",
        milliseconds(stage["queue_ms"]),
        milliseconds(stage["in_server_ms"]),
        "●" if stage["name"] in path else "",
    )
