"""Organ-Seg beside what people would use instead: bars with their spread, and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from matplotlib.figure import Figure

from benchmarks.load.window import Latency, Loop, Mix, Window
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Bar, spread_bars
from benchmarks.report.sweeps import LoadLevel, Sweep, p95, sweeps_of
from benchmarks.report.wording import (
    counted,
    load_of,
    milliseconds,
    mix_of,
    number,
    peer_of,
    ratio,
    whole,
)

OWN = "organ_seg"
"""The target that is ours, in every comparison."""


def peer_blocks(windows: Sequence[Window]) -> Iterator[Block]:
    """Throughput of every target at every load; nothing where no peers were measured."""
    for (mix, loop), sweeps in _groups(windows).items():
        loads = sorted({level.load for sweep in sweeps for level in sweep.levels})
        runs = max(len(level.windows) for sweep in sweeps for level in sweep.levels)
        yield Text(
            f"{mix_of(mix).capitalize()}; the same weights on the same machine and cores, in turns "
            f"one after another: {counted(runs, 'turn')}. *Ours to it* is the median of the ratios "
            "of each turn, so that what the machine did meanwhile hits both alike."
        )
        panels = {
            load_of(loop, load): tuple(
                Bar(
                    peer_of(sweep.target),
                    level.per_second,
                    tuple(window.per_second for window in level.windows),
                    is_own=sweep.target == OWN,
                )
                for sweep in sweeps
                if (level := sweep.at(load))
            )
            for load in loads
        }
        yield Plot(
            f"Answers per second, {mix_of(mix)}",
            "Bars of the median answers per second of Organ-Seg and of each peer, at "
            f"{' and '.join(panels)}; every single turn is a dot, a line spans them.",
            _drawing(panels),
        )
        yield Table(
            f"Organ-Seg and its peers, {mix_of(mix)}; latencies in ms",
            (
                "target",
                "load",
                "turns",
                "answers/s",
                "least",
                "most",
                "ours to it",
                "p50",
                "p95",
                "server CPU s/answer",
                "server memory, MiB",
                "rejected",
                "errors",
            ),
            tuple(
                _row(sweep, level, sweeps)
                for load in loads
                for sweep in sweeps
                if (level := sweep.at(load))
            ),
            text_columns=2,
        )


def turn_ratio(
    ours: LoadLevel, theirs: LoadLevel, of: Callable[[Window], float | None]
) -> float | None:
    """The median over the turns of ours divided by theirs; None where no turn has both."""
    by_turn = {window.turn: of(window) for window in theirs.windows}
    ratios = []
    for window in ours.windows:
        value, other = of(window), by_turn.get(window.turn)
        if value is not None and other:
            ratios.append(value / other)
    return median(ratios) if ratios else None


def _drawing(panels: dict[str, tuple[Bar, ...]]) -> Callable[[], Figure]:
    return lambda: spread_bars(panels, "answers per second")


def _groups(windows: Sequence[Window]) -> dict[tuple[Mix, Loop], list[Sweep]]:
    found: dict[tuple[Mix, Loop], list[Sweep]] = {}
    for sweep in sweeps_of(windows):
        found.setdefault((sweep.mix, sweep.loop), []).append(sweep)
    return found


def _row(sweep: Sweep, level: LoadLevel, sweeps: Sequence[Sweep]) -> tuple[str, ...]:
    rates = [window.per_second for window in level.windows]
    own = next((each.at(level.load) for each in sweeps if each.target == OWN), None)
    compared = (
        turn_ratio(own, level, lambda window: window.per_second)
        if own and sweep.target != OWN
        else None
    )
    return (
        peer_of(sweep.target),
        load_of(sweep.loop, level.load),
        whole(len(level.windows)),
        number(level.per_second),
        number(min(rates)),
        number(max(rates)),
        ratio(compared),
        milliseconds(level.latency(_p50)),
        milliseconds(level.latency(p95)),
        number(level.value(lambda window: window.server_cpu_s_per_answer), 3),
        number(level.value(lambda window: window.server_memory_mib), 0),
        whole(level.value(lambda window: window.rejected)),
        whole(level.value(lambda window: window.failed)),
    )


def _p50(latency: Latency) -> float:
    return latency.p50_ms
