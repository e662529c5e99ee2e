"""The first question about an image and further ones: by whole requests, and in sessions."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmarks.load.window import Latency, Loop, Mix, Window
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Line, Panel, line_panels
from benchmarks.report.records import Kind, PresetRecords
from benchmarks.report.sweeps import LoadLevel, Sweep, sweeps_of
from benchmarks.report.wording import counted, load_of, milliseconds, peer_of, ratio

_FIRST, _FURTHER = "first_latency", "follow_up_latency"
_FEATURES = {"reuse": "keeps what it computed", "direct": "keeps nothing"}


def follow_up_blocks(records: PresetRecords) -> Iterator[Block]:
    """What a further question costs; nothing where none were asked."""
    record = records.latest(Kind.FOLLOW_UP)
    if record:
        images = counted(int(record.document["images"]), "image")
        yield Table(
            f"Two whole requests about each of {images}, one user, medians in ms",
            ("the release", "first", "further", "further to first"),
            tuple(
                (
                    _FEATURES.get(row["image_features"], row["image_features"]),
                    milliseconds(row["first_ms"]),
                    milliseconds(row["follow_up_ms"]),
                    ratio(row["ratio"]),
                )
                for row in record.document["rows"]
            ),
        )
    loaded = _told(records.load_windows())
    if loaded:
        yield Text(
            "In sessions every user opens an image, asks several questions about it, and opens the "
            "next: the first question carries the image, further ones a handle."
        )
        yield _plot(loaded[0])
    for sweeps, where in ((loaded, "load test"), (_told(records.peer_windows()), "turns of peers")):
        if sweeps:
            yield Table(
                f"Latency of sessions in ms, {where}",
                (
                    "target",
                    "load",
                    "first p50",
                    "first p95",
                    "further p50",
                    "further p95",
                    "further to first, p50",
                ),
                tuple(_row(sweep, level) for sweep in sweeps for level in sweep.levels),
                text_columns=2,
            )


def _told(windows: tuple[Window, ...]) -> list[Sweep]:
    return [
        sweep
        for sweep in sweeps_of(windows)
        if sweep.mix is Mix.SESSIONS and any(_of(level, _FIRST) for level in sweep.levels)
    ]


def _plot(sweep: Sweep) -> Plot:
    def draw() -> Figure:
        lines = tuple(
            Line(
                name,
                tuple((level.load, value) for level in sweep.levels if (value := _of(level, of))),
            )
            for name, of in (("first", _FIRST), ("further", _FURTHER))
        )
        x_label = "users" if sweep.loop is Loop.CLOSED else "requests due per second"
        return line_panels([Panel("", "p50, ms", lines)], x_label)

    return Plot(
        "First question and further ones in a session",
        "Two lines: the median latency of first questions about an image and of further ones; the "
        "table below holds the same numbers.",
        draw,
    )


def _row(sweep: Sweep, level: LoadLevel) -> tuple[str, ...]:
    first, further = _of(level, _FIRST), _of(level, _FURTHER)
    return (
        peer_of(sweep.target),
        load_of(sweep.loop, level.load),
        milliseconds(first),
        milliseconds(_of(level, _FIRST, "p95_ms")),
        milliseconds(further),
        milliseconds(_of(level, _FURTHER, "p95_ms")),
        ratio(further / first if first and further else None),
    )


def _of(level: LoadLevel, which: str, of: str = "p50_ms") -> float | None:
    def value(window: Window) -> float | None:
        latency: Latency | None = getattr(window, which)
        return None if latency is None else float(getattr(latency, of))

    return level.value(value)
