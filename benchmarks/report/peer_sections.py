"""Organ-Seg beside what people would use instead: bars with their spread, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from benchmarks.load.window import Latency, Loop, Mix
from benchmarks.peers.goals import ORGAN_SEG, USERS
from benchmarks.peers.settings import Peer
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Bar, spread_bars
from benchmarks.report.records import Document, Kind, PresetRecords
from benchmarks.report.sweeps import LoadLevel, Sweep, p95, sweeps_of, turn_ratio
from benchmarks.report.wording import (
    counted,
    load_of,
    milliseconds,
    number,
    peer_of,
    ratio,
    whole,
)

_Entry = tuple[Sweep, LoadLevel]


def peer_blocks(records: PresetRecords) -> Iterator[Block]:
    """Throughput of every target at every load; nothing where no peers were measured."""
    record = records.latest(Kind.PEERS)
    sweeps = [
        sweep
        for sweep in sweeps_of(records.peer_windows())
        if sweep.mix is Mix.DISTINCT and sweep.loop is Loop.CLOSED
    ]
    if record is None or not sweeps:
        return
    turns = max(len(level.windows) for sweep in sweeps for level in sweep.levels)
    path_ms = record.document.get("critical_path_ms")
    yield Text(
        "Distinct images; the same weights on the same machine and cores, in turns one after "
        f"another: {counted(turns, 'turn')}. *Ours to it* is the median of the ratios of each "
        "turn, so that what else the machine did hits both alike."
        + (f" The in-process critical path takes {milliseconds(path_ms)} ms." if path_ms else "")
    )
    by_load = _by_load(sweeps, float(record.document.get("users", USERS)))
    panels = {
        load_of(Loop.CLOSED, load): tuple(map(_bar, entries))
        for load, entries in by_load.items()
        if len(entries) > 1
    }
    if panels:
        yield Plot(
            "Answers per second, distinct images",
            "Bars of the median answers per second of Organ-Seg and of each peer, at "
            f"{' and '.join(panels)}; every single turn is a dot, a line spans them.",
            lambda: _draw(panels),
        )
    yield Table(
        "Organ-Seg and its peers; latencies in ms",
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
            _row(sweep, level, entries) for entries in by_load.values() for sweep, level in entries
        ),
        text_columns=2,
    )
    yield from _settings(record.document)


def _by_load(sweeps: Sequence[Sweep], compared: float) -> dict[float, list[_Entry]]:
    """Who was measured at each load. The loop in process has no users: it is compared with all."""
    found: dict[float, list[_Entry]] = {}
    for sweep in sweeps:
        for level in sweep.levels:
            is_loop = sweep.target == Peer.IN_PROCESS.value
            found.setdefault(compared if is_loop else level.load, []).append((sweep, level))
    return {load: found[load] for load in sorted(found)}


def _bar(entry: _Entry) -> Bar:
    sweep, level = entry
    runs = tuple(window.per_second for window in level.windows)
    return Bar(peer_of(sweep.target), level.per_second, runs, sweep.target == ORGAN_SEG)


def _draw(panels: Mapping[str, Sequence[Bar]]) -> Figure:
    return spread_bars(panels, "answers per second")


def _row(sweep: Sweep, level: LoadLevel, entries: Sequence[_Entry]) -> tuple[str, ...]:
    rates = [window.per_second for window in level.windows]
    own = next((each for other, each in entries if other.target == ORGAN_SEG), None)
    compared = None
    if own and sweep.target != ORGAN_SEG:
        compared = turn_ratio(own, level, lambda window: window.per_second)
    is_loop = sweep.target == Peer.IN_PROCESS.value
    return (
        peer_of(sweep.target),
        f"{counted(int(level.load), 'thread')}" if is_loop else load_of(sweep.loop, level.load),
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


def _settings(document: Document) -> Iterator[Table]:
    """What each peer was started with, and what the tuning tried before."""
    settings = document.get("settings") or {}
    if settings:
        yield Table(
            "What the peers were started with",
            ("peer", *_knobs(settings.values())),
            tuple((peer_of(name), *_knob_cells(chosen)) for name, chosen in settings.items()),
        )
    trials = document.get("tuning") or ()
    if trials:
        yield Table(
            "What the tuning tried, each alone on the machine",
            ("peer", *_knobs([trials[0]["settings"]]), "answers/s", "failed"),
            tuple(
                (
                    peer_of(trial["peer"]),
                    *_knob_cells(trial["settings"]),
                    number(trial["per_second"]),
                    whole(trial["failed"]),
                )
                for trial in trials
            ),
        )


def _knobs(settings: Iterable[Document]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in next(iter(settings)))


def _knob_cells(settings: Document) -> tuple[str, ...]:
    return tuple("the release's" if value is None else f"{value:g}" for value in settings.values())


def _p50(latency: Latency) -> float:
    return latency.p50_ms
