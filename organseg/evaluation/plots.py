"""A record as PNG plots, drawn without a display and without pyplot's global state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from organseg.evaluation.intervals import Interval
from organseg.evaluation.record import EvaluationRecord
from organseg.organs import ORGANS

__all__ = ["plot_confusion", "plot_dice", "plot_reliability", "write_plots"]

_DOTS_PER_INCH = 110


def write_plots(record: EvaluationRecord, folder: Path) -> tuple[Path, ...]:
    """Writes the confusion matrix, Dice bars and reliability diagram, and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "confusion.png": plot_confusion(record),
        "dice.png": plot_dice(record),
        "reliability.png": plot_reliability(record),
    }
    for name, figure in figures.items():
        # No software name or date inside: the same record gives the same bytes.
        figure.savefig(folder / name, dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return tuple(folder / name for name in figures)


def plot_confusion(record: EvaluationRecord) -> Figure:
    """Counts written in cells, shaded by their share of the row; rows asked, columns answered."""
    counts = np.array(record.confusion, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _new_figure(8.0, 7.2)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=7)
    ticks = range(len(record.confusion_order))
    axes.set_xticks(ticks, record.confusion_order, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(ticks, record.confusion_order, fontsize=8)
    axes.set_xlabel("answered")
    axes.set_ylabel("asked")
    axes.set_title(f"{record.model} on {record.dataset}", fontsize=10)
    return figure


def plot_dice(record: EvaluationRecord) -> Figure:
    """Dice of each organ in its overlay colour, with intervals, baselines as markers beside."""
    figure = _new_figure(9.0, 4.2)
    axes = figure.add_subplot()
    metrics = [*record.organs, record.mean]
    colors = [tuple(part / 255 for part in organ.color_rgb) for organ in ORGANS] + [(0.3,) * 3]
    for place, (row, color) in enumerate(zip(metrics, colors, strict=True)):
        interval = row.dice_present
        if interval.value is None:
            axes.text(place, 0.02, "not\nscored", ha="center", fontsize=6, color="gray")
            continue
        axes.bar(place, interval.value, color=color, width=0.7, yerr=_error_bar(interval))
    for baseline, marker in zip(record.baselines, "v^osD", strict=False):
        values = [interval.value for interval in (*baseline.dice_present, baseline.mean)]
        places = [place for place, value in enumerate(values) if value is not None]
        scored = [value for value in values if value is not None]
        axes.scatter(
            places, scored, marker=marker, s=16, color="black", label=baseline.name, zorder=3
        )
    axes.set_xticks(range(len(metrics)), [row.name for row in metrics], rotation=40, ha="right")
    axes.set_ylim(0.0, 1.05)
    axes.set_ylabel("Dice, organ present")
    axes.set_title(f"{record.model} on {record.dataset}", fontsize=10)
    if record.baselines:
        axes.legend(fontsize=7, loc="upper right")
    return figure


def plot_reliability(record: EvaluationRecord) -> Figure:
    """Stated probabilities against how often they came true, and how often they are stated.

    Left: that the slice shows an organ. Right: that the question is out of scope.
    """
    figure = _new_figure(8.4, 5.0)
    panels = figure.subplots(2, 2, height_ratios=[3, 1], sharex=True)
    for (upper, lower), name, truth, calibration in zip(
        panels.T,
        ("organ in the image", "question out of scope"),
        ("organ truly in the image", "question truly out of scope"),
        (record.presence, record.refusal),
        strict=True,
    ):
        upper.plot([0, 1], [0, 1], color="gray", linestyle=":")
        filled = [item for item in calibration.bins if item.count]
        upper.plot(
            [item.mean_probability for item in filled],
            [item.frequency for item in filled],
            marker="o",
        )
        upper.set_ylabel(truth)
        upper.set_ylim(-0.02, 1.02)
        error = calibration.expected_calibration_error
        upper.set_title(name + ("" if error is None else f", ECE {100 * error:.1f} %"), fontsize=10)
        lower.bar(
            [(item.low + item.high) / 2 for item in calibration.bins],
            [item.count for item in calibration.bins],
            width=[0.9 * (item.high - item.low) for item in calibration.bins],
        )
        lower.set_xlabel("stated probability")
        lower.set_ylabel("stated")
    figure.suptitle(f"{record.model} on {record.dataset}", fontsize=10)
    return figure


def _new_figure(width_inches: float, height_inches: float) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _error_bar(interval: Interval) -> list[list[float]] | None:
    if interval.value is None or interval.low is None or interval.high is None:
        return None
    below, above = interval.value - interval.low, interval.high - interval.value
    return [[max(below, 0.0)], [max(above, 0.0)]]
