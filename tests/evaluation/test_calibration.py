from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from organseg.errors import InvalidInputError
from organseg.evaluation.calibration import (
    area_under_roc,
    brier_score,
    expected_calibration_error,
    reliability_bins,
)


def drawn(seed, count=400):
    generator = np.random.default_rng(seed)
    probabilities = generator.random(count)
    return probabilities, generator.random(count) < probabilities**2


@pytest.mark.parametrize("seed", range(3))
def test_auc_brier_and_bins_agree_with_scikit_learn(seed):
    probabilities, outcomes = drawn(seed)
    rounded = np.round(probabilities, 1)  # with ties
    assert area_under_roc(rounded, outcomes) == pytest.approx(roc_auc_score(outcomes, rounded))
    assert brier_score(probabilities, outcomes) == pytest.approx(
        brier_score_loss(outcomes, probabilities)
    )
    bins = reliability_bins(probabilities, outcomes)
    frequency, mean = calibration_curve(outcomes, probabilities, n_bins=10)
    assert [item.frequency for item in bins] == pytest.approx(frequency.tolist())
    assert [item.mean_probability for item in bins] == pytest.approx(mean.tolist())


def test_the_calibration_error_by_hand():
    bins = reliability_bins([0.05, 0.05, 0.95, 0.95], [0, 1, 1, 1])
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)


def test_zero_and_one_fall_into_the_outer_bins():
    bins = reliability_bins([0.0, 1.0], [0, 1])
    assert (bins[0].count, bins[-1].count) == (1, 1)
    assert expected_calibration_error(bins) == 0.0


def test_a_bin_edge_belongs_to_the_bin_below():
    bins = reliability_bins([0.5], [1], bins=2)
    assert [item.count for item in bins] == [1, 0]


def test_one_class_alone_has_no_ranking():
    assert area_under_roc([0.1, 0.9], [1, 1]) is None
    assert area_under_roc([], []) is None


def test_no_data_gives_no_scores():
    assert brier_score([], []) is None
    assert expected_calibration_error(reliability_bins([], [])) is None


def test_logits_are_refused_as_probabilities():
    with pytest.raises(InvalidInputError, match="sigmoid"):
        reliability_bins([-2.0, 3.0], [0, 1])


def test_scores_and_outcomes_of_different_length_are_refused():
    with pytest.raises(InvalidInputError, match="As many"):
        brier_score([0.1], [0, 1])
