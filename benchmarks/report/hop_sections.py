"""One request at a time: its stages in process and through Triton, and further questions."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmarks.load.window import Latency, Loop, Mix
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Line, Panel, line_panels, stacked_bars
from benchmarks.report.records import Document, Kind, PresetRecords
from benchmarks.report.sweeps import LoadLevel, Sweep, sweeps_of
from benchmarks.report.wording import (
    MISSING,
    counted,
    load_of,
    milliseconds,
    peer_of,
    ratio,
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
        return stacked_bars(panels, ("compute", "queue"), "ms of a request")

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


def follow_up_blocks(records: PresetRecords) -> Iterator[Block]:
    """First questions and further ones of sessions; nothing where none were asked."""
    sweeps = [
        sweep
        for sweep in sweeps_of((*records.load_windows(), *records.peer_windows()))
        if sweep.mix is Mix.SESSIONS
        and any(level.value(_is_told) is not None for level in sweep.levels)
    ]
    if not sweeps:
        return
    yield Text(
        "In the mix of sessions every user opens an image, asks several questions about it, and "
        "opens the next: the first question carries the image, further ones a handle."
    )
    shown = sweeps[0]

    def draw() -> Figure:
        lines = tuple(
            Line(
                name,
                tuple((lv.load, value) for lv in shown.levels if (value := _p50(lv, of))),
            )
            for name, of in (("first", "first_latency"), ("further", "follow_up_latency"))
        )
        panel = Panel("", "p50, ms", lines, is_logarithmic=True)
        x_label = "users" if shown.loop is Loop.CLOSED else "requests due per second"
        return line_panels([panel], x_label)

    yield Plot(
        "First question and further ones",
        "Two lines: the median latency of first questions about an image and of further ones, on a "
        "logarithmic scale; the table below holds the same numbers.",
        draw,
    )
    yield Table(
        "Latency of sessions in ms",
        (
            "target",
            "load",
            "first p50",
            "first p95",
            "further p50",
            "further p95",
            "further to first, p50",
        ),
        tuple(_session_row(sweep, level) for sweep in sweeps for level in sweep.levels),
        text_columns=2,
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


def _session_row(sweep: Sweep, level: LoadLevel) -> tuple[str, ...]:
    first, further = _p50(level, "first_latency"), _p50(level, "follow_up_latency")
    return (
        peer_of(sweep.target),
        load_of(sweep.loop, level.load),
        milliseconds(first),
        milliseconds(_of(level, "first_latency", "p95_ms")),
        milliseconds(further),
        milliseconds(_of(level, "follow_up_latency", "p95_ms")),
        ratio(further / first if first and further else None),
    )


def _is_told(window: object) -> float | None:
    return None if getattr(window, "first_latency", None) is None else 1.0


def _p50(level: LoadLevel, which: str) -> float | None:
    return _of(level, which, "p50_ms")


def _of(level: LoadLevel, which: str, of: str) -> float | None:
    def value(window: object) -> float | None:
        latency: Latency | None = getattr(window, which)
        return None if latency is None else float(getattr(latency, of))

    return level.value(value)
