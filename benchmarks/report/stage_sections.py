"""Time by stage, queue and compute apart, and how many requests the stages took at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure

from benchmarks.load.window import Loop, Mix
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import stacked_bars
from benchmarks.report.sweeps import LoadLevel, Sweep
from benchmarks.report.wording import load, load_of, milliseconds, mix_of, number, whole
from organseg.contract import ENSEMBLE_NAME


def stage_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """Queue and compute of every stage; nothing where no window knows its stages."""
    staged = _staged(sweeps)
    if not staged:
        return
    yield Text(
        "By Triton's own statistics, means of a request: *queue* is waiting for an instance or for "
        "company in a batch, *compute* is handing over inputs, work and outputs. Stages that run "
        "side by side do not add up to a request's time; an ensemble's row sums over its stages."
    )
    shown = staged[0]
    levels = _shown_levels(shown)

    def draw() -> Figure:
        # Ensembles would dwarf their own parts.
        panels = {
            load_of(shown.loop, level.load): {
                name: (level.stage(name, "compute_ms") or 0.0, level.stage(name, "queue_ms") or 0.0)
                for name in level.stages
                if not name.startswith(ENSEMBLE_NAME)
            }
            for level in levels
        }
        return stacked_bars(panels, ("compute", "queue"), "ms of a request")

    yield Plot(
        f"Queue and compute by stage, {mix_of(shown.mix)}",
        "Stacked bars, one for each stage: milliseconds that a request computes and queues, "
        f"at {_named(shown, levels)}; the table below has every level.",
        draw,
    )
    for sweep in staged:
        yield _table(
            f"Queue / compute, milliseconds of a request, {_of(sweep)}",
            sweep,
            lambda level, name: (
                f"{milliseconds(level.stage(name, 'queue_ms'))} / "
                f"{milliseconds(level.stage(name, 'compute_ms'))}"
            ),
        )


def batch_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """The mean batch of every stage; nothing where no window knows its stages."""
    staged = _staged(sweeps)
    if not staged:
        return
    shown = staged[0]
    levels = _shown_levels(shown)

    def draw() -> Figure:
        panels = {
            load_of(shown.loop, level.load): {
                name: (level.stage(name, "mean_batch") or 0.0,)
                for name in level.stages
                if not name.startswith(ENSEMBLE_NAME)
            }
            for level in levels
        }
        return stacked_bars(panels, ("requests in a batch",), "requests in a batch, mean")

    yield Plot(
        f"Mean batch by stage, {mix_of(shown.mix)}",
        "Bars, one for each stage: requests that it took at once, the mean, at "
        f"{_named(shown, levels)}; the table below has every level.",
        draw,
    )
    for sweep in staged:
        yield _table(
            f"Mean batch (requests in batches), {_of(sweep)}",
            sweep,
            lambda level, name: (
                f"{number(level.stage(name, 'mean_batch'))} "
                f"({whole(level.stage(name, 'requests'))} in "
                f"{whole(level.stage(name, 'executions'))})"
            ),
        )


def _table(caption: str, sweep: Sweep, cell: Callable[[LoadLevel, str], str]) -> Table:
    names = dict.fromkeys(name for level in sweep.levels for name in level.stages)
    return Table(
        caption,
        ("stage", *(load(level.load) for level in sweep.levels)),
        tuple((f"`{name}`", *(cell(level, name) for level in sweep.levels)) for name in names),
    )


def _staged(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """The sweeps whose stages are known, distinct images under rising users first."""
    known = [sweep for sweep in sweeps if any(level.stages for level in sweep.levels)]
    return sorted(known, key=lambda sweep: (sweep.loop is Loop.OPEN, sweep.mix is not Mix.DISTINCT))


def _shown_levels(sweep: Sweep) -> list[LoadLevel]:
    """The lowest, the knee and the highest."""
    wanted = {sweep.levels[0].load, sweep.levels[-1].load}
    if sweep.knee:
        wanted.add(sweep.knee.level.load)
    return [level for level in sweep.levels if level.load in wanted and level.stages]


def _named(sweep: Sweep, levels: Sequence[LoadLevel]) -> str:
    return " and ".join(load_of(sweep.loop, level.load) for level in levels)


def _of(sweep: Sweep) -> str:
    unit = "users" if sweep.loop is Loop.CLOSED else "requests/s due"
    return f"{mix_of(sweep.mix)}, over {unit}"
