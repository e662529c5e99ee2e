"""Throughput and latency over users and over the rate, with the knee."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure

from benchmarks.load.knee import DEFINITION
from benchmarks.load.window import Latency, Loop
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Line, Panel, line_panels
from benchmarks.report.sweeps import LoadLevel, Sweep, p95
from benchmarks.report.wording import (
    LOAD_WORDS,
    counted,
    load,
    load_of,
    milliseconds,
    mix_of,
    number,
    whole,
)

_PERCENTILES: tuple[tuple[str, Callable[[Latency], float]], ...] = (
    ("p50", lambda latency: latency.p50_ms),
    ("p90", lambda latency: latency.p90_ms),
    ("p95", p95),
    ("p99", lambda latency: latency.p99_ms),
)
_LATENCIES = (
    *_PERCENTILES,
    ("mean", lambda latency: latency.mean_ms),
    ("max", lambda latency: latency.max_ms),
)
_LOOPS = {
    Loop.CLOSED: (
        "Every user asks again once answered (closed loop), so a slow server is asked less."
    ),
    Loop.OPEN: (
        "Requests are due by a clock, whether earlier ones were answered or not (open loop); "
        "latency counts from when a request was due."
    ),
}


def load_blocks(sweeps: Sequence[Sweep], loop: Loop) -> Iterator[Block]:
    """Throughput and latency under one kind of loop; nothing where it was not measured."""
    members = [sweep for sweep in sweeps if sweep.loop is loop]
    if members:
        yield Text(_LOOPS[loop])
        yield Text(DEFINITION)
        yield from _blocks(loop, members)


def _latency_panels(sweeps: Sequence[Sweep]) -> tuple[Panel, ...]:
    """One panel of percentiles for each sweep."""
    return tuple(
        Panel(
            mix_of(sweep.mix),
            "latency, ms",
            tuple(Line(name, _points(sweep, of)) for name, of in _PERCENTILES),
            is_logarithmic=True,
        )
        for sweep in sweeps
    )


def _blocks(loop: Loop, sweeps: Sequence[Sweep]) -> Iterator[Block]:
    x_label = LOAD_WORDS[loop]

    def throughput() -> Figure:
        lines = tuple(
            Line(
                mix_of(sweep.mix),
                tuple((level.load, level.per_second) for level in sweep.levels),
                sweep.knee.level.load if sweep.knee else None,
            )
            for sweep in sweeps
        )
        panel = Panel("", "answers per second", lines, has_diagonal=loop is Loop.OPEN)
        return line_panels([panel], x_label)

    yield Plot(
        f"Throughput over {x_label}",
        f"Answers per second over {x_label}, one line for each mix. "
        + " ".join(_course(sweep) for sweep in sweeps),
        throughput,
    )
    for sweep in sweeps:
        yield Text(_knee_words(sweep))
        yield _table(sweep)
    yield Plot(
        f"Latency over {x_label}",
        f"The latencies that 50, 90, 95 and 99 of 100 answers keep within, over {x_label}, on a "
        "logarithmic scale, one panel for each mix; the tables above hold the same numbers.",
        lambda: line_panels(_latency_panels(sweeps), x_label),
    )


def _course(sweep: Sweep) -> str:
    low, high = sweep.levels[0], sweep.levels[-1]
    return (
        f"{mix_of(sweep.mix).capitalize()}: from {number(low.per_second)} at {load(low.load)} to "
        f"{number(high.per_second)} at {load(high.load)}."
    )


def _knee_words(sweep: Sweep) -> str:
    knee = sweep.knee
    if knee is None:
        return f"**{mix_of(sweep.mix).capitalize()}**: one level only, so no knee."
    return (
        f"**{mix_of(sweep.mix).capitalize()}**: the knee is at "
        f"{load_of(sweep.loop, knee.level.load)}, {number(knee.level.per_second)} answers/s with a "
        f"p95 of {milliseconds(knee.level.p95_ms)} ms: {knee.bound.value}."
    )


def _table(sweep: Sweep) -> Table:
    unit = "users" if sweep.loop is Loop.CLOSED else "due/s"
    knee = sweep.knee
    runs = max(len(level.windows) for level in sweep.levels)
    rows = tuple(_row(level, knee is not None and level.load == knee.level.load)
                 for level in sweep.levels)  # fmt: skip
    return Table(
        f"{mix_of(sweep.mix).capitalize()}, `{sweep.target}`, latencies in ms"
        + (f", medians of {counted(runs, 'run')}" if runs > 1 else ""),
        (
            unit,
            "seconds",
            "answered",
            "rejected",
            "errors",
            "answers/s",
            *(name for name, _ in _LATENCIES),
        ),
        rows,
        text_columns=0,
    )


def _row(level: LoadLevel, is_knee: bool) -> tuple[str, ...]:
    return (
        f"knee {load(level.load)}" if is_knee else load(level.load),
        number(level.value(lambda window: window.seconds), 1),
        whole(level.value(lambda window: window.answered)),
        whole(level.value(lambda window: window.rejected)),
        whole(level.value(lambda window: window.failed)),
        number(level.per_second),
        *(milliseconds(level.latency(of)) for _, of in _LATENCIES),
    )


def _points(sweep: Sweep, of: Callable[[Latency], float]) -> tuple[tuple[float, float], ...]:
    points = ((level.load, level.latency(of)) for level in sweep.levels)
    return tuple((load, value) for load, value in points if value is not None)
