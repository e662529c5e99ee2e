from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from organseg.evaluation.plots import plot_confusion, plot_dice, plot_reliability, write_plots
from organseg.evaluation.runner import Evaluation
from organseg.evaluation.summary import summarize


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_three_plots_are_written_as_readable_png(record, tmp_path):
    paths = write_plots(record, tmp_path / "plots")
    assert [path.name for path in paths] == ["confusion.png", "dice.png", "reliability.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 400
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_the_confusion_plot_prints_each_count_and_shades_by_row(record):
    (axes,) = plot_confusion(record).axes
    assert sorted(texts(axes)) == ["6", "6", "6", "6"]
    shares = np.asarray(axes.images[0].get_array())
    assert shares.max() == 1.0
    assert [label.get_text() for label in axes.get_yticklabels()] == list(record.confusion_order)


def test_dice_bars_have_the_records_heights_and_say_what_was_not_scored(record):
    (axes,) = plot_dice(record).axes
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == pytest.approx(
        [
            record.organs[0].dice_present.value,
            record.organs[2].dice_present.value,
            record.mean.dice_present.value,
        ]
    )
    assert texts(axes).count("not\nscored") == 11


def test_the_reliability_curve_runs_through_the_filled_bins(record):
    panels = plot_reliability(record).axes
    for column, calibration in enumerate((record.presence, record.refusal)):
        upper, lower = panels[column], panels[2 + column]
        filled = [item for item in calibration.bins if item.count]
        assert list(upper.lines[1].get_ydata()) == [item.frequency for item in filled]
        assert sum(patch.get_height() for patch in lower.patches) == calibration.count > 0


def test_an_empty_record_can_be_drawn(tmp_path):
    empty = summarize(Evaluation((), ()), model="m", dataset="d", provenance={})
    assert len(write_plots(empty, tmp_path)) == 3
