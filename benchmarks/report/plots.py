"""The report's drawings, from plain numbers; `benchmarks.report.svg` says in which colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.report.svg import INK, MARKERS, MUTED, SERIES, new_figure

_BAR_HEIGHT_INCHES = 0.3
_FRAME_INCHES = 0.9
_MOST_TICKS = 7
_MOST_MARKERS = 24
# Of the second and further parts of a stacked bar: told apart without colours.
_HATCHES = ("", "////", "....")
_RING: dict[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "markersize": 12,
    "markerfacecolor": "none",
}


@dataclass(frozen=True)
class Line:
    """One measured value over the load."""

    name: str
    """What the legend says."""
    points: tuple[tuple[float, float], ...]
    """Load and value, from the lowest load to the highest."""
    marked: float | None = None
    """The load at which a ring is drawn."""
    mark: str = "knee"
    """What the ring means."""


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    title: str
    """Above it; may be empty."""
    y_label: str
    """Quantity and unit."""
    lines: tuple[Line, ...]
    """At most as many as there are colours."""
    is_logarithmic: bool = False
    """Whether values are spread by their ratio."""
    has_diagonal: bool = False
    """Whether load and value are the same thing, so that their equality is worth a line."""


def line_panels(panels: Sequence[Panel], x_label: str) -> Figure:
    """Panels side by side over the same load."""
    figure = new_figure(max(4.6, 3.6 * len(panels)), 3.5)
    for axes, panel in zip(_row(figure, len(panels)), panels, strict=True):
        for place, line in enumerate(panel.lines):
            _draw(axes, line, place)
        loads = sorted({load for line in panel.lines for load, _ in line.points})
        if panel.has_diagonal and loads:
            ends = (loads[0], loads[-1])
            axes.plot(ends, ends, color=MUTED, linestyle=":", label="all answered")
        if 2 < len(loads) <= _MOST_TICKS and loads[0] > 0 and loads[-1] / loads[0] >= 8:
            axes.set_xscale("log", base=2)
        if len(loads) <= _MOST_TICKS:
            axes.set_xticks(loads, [f"{round(load, 2):g}" for load in loads])
        axes.xaxis.set_minor_locator(NullLocator())
        if panel.is_logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            highest = max((value for line in panel.lines for _, value in line.points), default=1.0)
            axes.set_ylim(0, 1.12 * max(highest, loads[-1] if panel.has_diagonal else 0.0) or 1.0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(panel.y_label)
        axes.set_title(panel.title)
        _add_legend(axes, panel)
    return figure


def stacked_bars(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    parts: Sequence[str],
    x_label: str,
    longest: float | None = None,
) -> Figure:
    """Lying bars, each of several parts, one panel for each title.

    Args:
        panels: by title, then by the name of the bar, from the top one down.
        parts: what the parts of every bar are.
        x_label: quantity and unit.
        longest: where every axis ends; None for a little behind its longest bar.
    """
    names = list(dict.fromkeys(name for bars in panels.values() for name in bars))
    figure = new_figure(
        max(6.0, 3.4 * len(panels)), _FRAME_INCHES + 0.2 + _BAR_HEIGHT_INCHES * len(names)
    )
    handles: list[Artist] = []
    for axes, (title, bars) in zip(_row(figure, len(panels), True), panels.items(), strict=True):
        _lay(axes, names, x_label, title)
        starts = [0.0] * len(names)
        for place, part in enumerate(parts):
            lengths = [bars[name][place] if name in bars else 0.0 for name in names]
            drawn = axes.barh(
                range(len(names)),
                lengths,
                left=starts,
                color=SERIES[place],
                hatch=_HATCHES[place],
                height=0.66,
                label=part,
            )
            starts = [start + length for start, length in zip(starts, lengths, strict=True)]
            handles[place : place + 1] = [drawn[0]]
        if longest is not None:
            axes.set_xlim(0, longest)
        else:
            axes.set_xlim(0, 1.05 * max((sum(bar) for bar in bars.values()), default=1.0) or 1.0)
    if len(parts) > 1:
        figure.legend(handles, parts, loc="outside upper right", ncols=len(parts), fontsize=8)
    return figure


@dataclass(frozen=True)
class Bar:
    """One bar of measurements that were repeated."""

    name: str
    """Whose they are."""
    median: float
    """The bar's length."""
    runs: tuple[float, ...]
    """Every single one, drawn as a dot; the whisker spans them."""
    is_own: bool = False
    """Whether it is ours, which stands out."""


def spread_bars(panels: Mapping[str, Sequence[Bar]], x_label: str) -> Figure:
    """Lying bars of medians with every run as a dot, one panel for each title."""
    names = list(dict.fromkeys(bar.name for bars in panels.values() for bar in bars))
    figure = new_figure(
        max(6.0, 3.4 * len(panels)), _FRAME_INCHES + _BAR_HEIGHT_INCHES * 1.3 * len(names)
    )
    for axes, (title, bars) in zip(_row(figure, len(panels), True), panels.items(), strict=True):
        _lay(axes, names, x_label, title)
        for bar in bars:
            place = names.index(bar.name)
            axes.barh(place, bar.median, height=0.6, color=SERIES[0] if bar.is_own else MUTED)
            axes.hlines(place, min(bar.runs), max(bar.runs), color=INK, linewidth=1)
            axes.plot(bar.runs, [place] * len(bar.runs), "o", color=INK, markersize=2.5)
            axes.annotate(
                f"{bar.median:.1f}",
                (max(bar.runs), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.margins(x=0.15)
    return figure


def _draw(axes: Axes, line: Line, place: int) -> None:
    color = SERIES[place % len(SERIES)]
    marker = MARKERS[place % len(MARKERS)]
    loads = [load for load, _ in line.points]
    values = [value for _, value in line.points]
    is_dense = len(loads) > _MOST_MARKERS
    axes.plot(
        loads,
        values,
        color=color,
        marker="" if is_dense else marker,
        markersize=4.5,
        label=line.name,
    )
    for load, value in line.points:
        if load == line.marked:
            axes.plot(load, value, label="_", **_RING, markeredgecolor=color)


def _add_legend(axes: Axes, panel: Panel) -> None:
    handles, labels = axes.get_legend_handles_labels()
    marks = dict.fromkeys(line.mark for line in panel.lines if line.marked is not None)
    for mark in marks:
        handles.append(Line2D([], [], **_RING, markeredgecolor=INK))
        labels.append(mark)
    if len(handles) > 1:
        axes.legend(handles, labels, fontsize=8)


def _lay(axes: Axes, names: Sequence[str], x_label: str, title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(x_label)
    axes.set_title(title)


def _row(figure: Figure, count: int, shares_y: bool = False) -> list[Axes]:
    made = figure.subplots(1, count, squeeze=False, sharey=shares_y)
    return list(made[0])
