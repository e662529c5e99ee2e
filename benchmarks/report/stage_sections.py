"""Time by stage, queue and compute apart, and how many requests the stages took at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from benchmarks.load.window import Loop, Mix
from benchmarks.report.blocks import Block, Plot, Table, Text
from benchmarks.report.plots import stacked_bars
from benchmarks.report.sweeps import LoadLevel, Sweep
from benchmarks.report.wording import load, load_of, milliseconds, mix_of, number, whole
from organseg.contract import ENSEMBLE_NAME

_SHOWN_LEVELS = 3


def stage_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """Queue and compute of every stage; nothing where no window knows its stages."""
    sweep = _staged(sweeps)
    if sweep is None:
        return
    yield Text(
        "By Triton's own statistics, means of a request: *queue* is waiting for an instance or for "
        "company in a batch, *compute* is handing over inputs, work and outputs. Stages that run "
        "side by side do not add up to a request's time; an ensemble's row sums over its stages."
    )
    levels = _shown_levels(sweep)
    names = _stage_names(sweep)

    def draw() -> Figure:
        # The ensemble would dwarf its own parts.
        panels = {
            load_of(sweep.loop, level.load): {
                name: (level.stage(name, "compute_ms") or 0.0, level.stage(name, "queue_ms") or 0.0)
                for name in names
                if name in _parts(level)
            }
            for level in levels
        }
        return stacked_bars(panels, ("compute", "queue"), "ms of a request")

    yield Plot(
        f"Queue and compute by stage, {mix_of(sweep.mix)}",
        "Stacked bars, one for each stage: milliseconds that a request computes and queues, "
        f"at {_named(sweep, levels)}; the table below has every level.",
        draw,
    )
    head = tuple(
        f"{load(level.load)}: {part}" for level in sweep.levels for part in ("queue", "compute")
    )
    rows = tuple(
        (
            f"`{name}`",
            *(
                milliseconds(level.stage(name, of))
                for level in sweep.levels
                for of in ("queue_ms", "compute_ms")
            ),
        )
        for name in names
    )
    unit = "users" if sweep.loop is Loop.CLOSED else "requests/s due"
    yield Table(
        f"Milliseconds of a request by stage, {mix_of(sweep.mix)}, for rising {unit}",
        ("stage", *head),
        rows,
    )


def batch_blocks(sweeps: Sequence[Sweep]) -> Iterator[Block]:
    """The mean batch of every stage; nothing where no window knows its stages."""
    sweep = _staged(sweeps)
    if sweep is None:
        return
    levels = _shown_levels(sweep)
    names = _stage_names(sweep)

    def draw() -> Figure:
        panels = {
            load_of(sweep.loop, level.load): {
                name: (level.stage(name, "mean_batch") or 0.0,) for name in _parts(level)
            }
            for level in levels
        }
        return stacked_bars(panels, ("requests in a batch",), "requests in a batch, mean")

    yield Plot(
        f"Mean batch by stage, {mix_of(sweep.mix)}",
        "Bars, one for each stage: requests that it took at once, the mean, at "
        f"{_named(sweep, levels)}; the table below has every level.",
        draw,
    )
    rows = tuple(
        (
            f"`{name}`",
            *(number(level.stage(name, "mean_batch")) for level in sweep.levels),
            *(whole(level.stage(name, "executions")) for level in sweep.levels),
            *(whole(level.stage(name, "requests")) for level in sweep.levels),
        )
        for name in names
    )
    head = tuple(
        f"{load(level.load)}: {part}"
        for part in ("batch", "batches", "requests")
        for level in sweep.levels
    )
    unit = "users" if sweep.loop is Loop.CLOSED else "requests/s due"
    yield Table(
        f"Requests in a batch, {mix_of(sweep.mix)}, for rising {unit}", ("stage", *head), rows
    )


def _staged(sweeps: Sequence[Sweep]) -> Sweep | None:
    """The sweep whose stages are shown: distinct images under rising users where there is one."""
    known = [sweep for sweep in sweeps if any(level.stages for level in sweep.levels)]
    best = [s for s in known if s.mix is Mix.DISTINCT and s.loop is Loop.CLOSED]
    return next(iter(best or known), None)


def _shown_levels(sweep: Sweep) -> tuple[LoadLevel, ...]:
    """The lowest, the knee and the highest."""
    knee = sweep.knee
    wanted = {
        sweep.levels[0].load,
        sweep.levels[-1].load,
        *([knee.level.load] if knee else []),
    }
    levels = [level for level in sweep.levels if level.load in wanted and level.stages]
    return tuple(levels[:_SHOWN_LEVELS])


def _stage_names(sweep: Sweep) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for level in sweep.levels for name in level.stages))


def _parts(level: LoadLevel) -> tuple[str, ...]:
    """The stages without ensembles, whose times are sums over them."""
    return tuple(name for name in level.stages if not name.startswith(ENSEMBLE_NAME))


def _named(sweep: Sweep, levels: Sequence[LoadLevel]) -> str:
    return " and ".join(load_of(sweep.loop, level.load) for level in levels)
