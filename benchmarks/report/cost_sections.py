"""What load costs the server: what was kept and found again, processor, memory, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure

from benchmarks.load.window import Loop, Mix, Window
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import Line, Panel, line_panels, stacked_bars
from benchmarks.report.records import Document
from benchmarks.report.sweeps import LoadLevel, Sweep
from benchmarks.report.wording import load_of, mebibytes, mix_of, number, share, whole

_MIXES = {mix.value: mix_of(mix) for mix in Mix}
_KEPT_COUNTS = ("hits", "misses", "bytes", "evictions")


def cache_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """Hits, misses, bytes and evictions; nothing where no window knows of a keeping stage."""
    levels = [(sweep, level) for sweep in sweeps for level in sweep.levels if _keeping(level)]
    if not levels:
        return
    panels = {
        mix_of(sweep.mix): {name: (100 * (_hit_rate(level, name) or 0.0),)
                            for name in _keeping(level)}
        for sweep, level in levels
        if sweep.loop is Loop.CLOSED
    }  # fmt: skip
    if panels:
        yield Plot(
            "Hits of look-ups, by mix",
            "Bars, one for each stage that keeps something, one panel for each mix: the share of "
            "look-ups that found what they wanted, at the highest number of users.",
            lambda: stacked_bars(panels, ("hits",), "hits of look-ups, %", 100),
        )
    yield Table(
        "What the keeping stages found and dropped",
        ("mix", "load", "stage", "hits", "misses", "hit rate", "kept, MiB", "evictions"),
        tuple(
            (
                mix_of(sweep.mix),
                load_of(sweep.loop, level.load),
                f"`{name}`",
                *_kept_cells(level, name),
            )
            for sweep, level in levels
            for name in _keeping(level)
        ),
        text_columns=3,
    )


def machine_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """Processor seconds and memory; nothing where the server is on another machine."""
    if all(_cpu(level) is None for sweep in sweeps for level in sweep.levels):
        return
    closed = [sweep for sweep in sweeps if sweep.loop is Loop.CLOSED]

    def draw() -> Figure:
        panels = (
            Panel("server's processor", "CPU seconds per answer", _lines(closed, _cpu)),
            Panel("server's memory", "MiB", _lines(closed, _memory)),
        )
        return line_panels(panels, "users")

    if closed:
        yield Plot(
            "Processor seconds and memory over users",
            "Left: processor seconds of the server for one answer over users. Right: its memory in "
            "MiB. One line for each mix; the table below holds the same numbers.",
            draw,
        )
    yield Table(
        "What a window cost the machine; client and server share its cores",
        (
            "mix",
            "load",
            "server CPU s/answer",
            "server CPU s",
            "client CPU s",
            "cores busy",
            "server memory, MiB",
        ),
        tuple(
            (
                mix_of(sweep.mix),
                load_of(sweep.loop, level.load),
                number(_cpu(level), 3),
                number(level.value(lambda window: window.server_cpu_s), 1),
                number(level.value(lambda window: window.client_cpu_s), 1),
                number(level.value(_cores_busy)),
                number(_memory(level), 0),
            )
            for sweep in sweeps
            for level in sweep.levels
        ),
        text_columns=2,
    )


def error_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """How many requests failed and how; nothing where there was no load at all."""
    if not sweeps:
        return
    windows = [
        (sweep, level, window)
        for sweep in sweeps
        for level in sweep.levels
        for window in level.windows
    ]
    answered = sum(window.answered for _, _, window in windows)
    rejected = sum(window.rejected for _, _, window in windows)
    failed = sum(window.failed for _, _, window in windows)
    yield Text(
        f"{answered:,} requests were answered, {rejected:,} turned away as the server was busy, "
        f"**{failed:,} failed** otherwise."
    )
    rows = tuple(
        (mix_of(sweep.mix), load_of(sweep.loop, level.load), name, whole(count))
        for sweep, level, window in windows
        for name, count in (("turned away as busy", window.rejected), *window.errors.items())
        if count
    )
    if rows:
        yield Table("Errors by class", ("mix", "load", "class", "requests"), rows, text_columns=3)


def not_measured_blocks(documents: Sequence[Document]) -> Iterator[Block]:
    """The windows that load tests wanted to make and could not."""
    rows = tuple(
        (_MIXES.get(lost["mix"], lost["mix"]), lost["loop"], lost["error"])
        for document in documents
        for lost in document.get("not_measured", ())
    )
    if rows:
        yield Table("Windows that could not be made", ("mix", "loop", "why"), rows, 3)


def _lines(sweeps: Sequence[Sweep], of: Callable[[LoadLevel], float | None]) -> tuple[Line, ...]:
    return tuple(
        Line(
            mix_of(sweep.mix),
            tuple(
                (level.load, value) for level in sweep.levels if (value := of(level)) is not None
            ),
        )
        for sweep in sweeps
    )


def _keeping(level: LoadLevel) -> tuple[str, ...]:
    return tuple(level.windows[0].cache or ())


def _kept(level: LoadLevel, name: str, of: str) -> float | None:
    def value(window: Window) -> float | None:
        kept = (window.cache or {}).get(name)
        return None if kept is None else float(getattr(kept, of))

    return level.value(value)


def _kept_cells(level: LoadLevel, name: str) -> tuple[str, ...]:
    hits, misses, size, evictions = (_kept(level, name, of) for of in _KEPT_COUNTS)
    return (
        whole(hits),
        whole(misses),
        share(_hit_rate(level, name)),
        mebibytes(size),
        whole(evictions),
    )


def _hit_rate(level: LoadLevel, name: str) -> float | None:
    def value(window: Window) -> float | None:
        kept = (window.cache or {}).get(name)
        return None if kept is None else kept.hit_rate

    return level.value(value)


def _cpu(level: LoadLevel) -> float | None:
    return level.value(lambda window: window.server_cpu_s_per_answer)


def _memory(level: LoadLevel) -> float | None:
    return level.value(lambda window: window.server_memory_mib)


def _cores_busy(window: Window) -> float | None:
    if window.server_cpu_s is None:
        return None
    return (window.server_cpu_s + window.client_cpu_s) / window.seconds
