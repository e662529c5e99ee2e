from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from organseg.errors import InvalidInputError
from organseg.evaluation.intervals import bootstrap_interval


def test_drawing_patients_gives_a_wider_interval_than_drawing_slices():
    generator = np.random.default_rng(1)
    patients = np.repeat(np.arange(12), 25)
    # Slices of a patient are alike: the patients differ far more than their slices.
    scores = np.repeat(generator.normal(0.7, 0.1, 12), 25) + generator.normal(0, 0.01, 300)
    by_patient = bootstrap_interval(scores, patients.tolist())
    by_slice = bootstrap_interval(scores, list(range(300)))
    assert by_patient.value == pytest.approx(by_slice.value)
    assert by_patient.high - by_patient.low > 3 * (by_slice.high - by_slice.low)


def test_with_one_slice_a_patient_it_agrees_with_scipys_bootstrap():
    scores = np.random.default_rng(2).normal(0.6, 0.2, 80)
    ours = bootstrap_interval(scores, list(range(80)), resamples=20000)
    theirs = bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(0)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_value_is_the_ratio_of_sums():
    interval = bootstrap_interval(
        [1, 2, 3], ["a", "a", "b"], denominators=[2, 2, 8], least_patients=2
    )
    assert interval.value == pytest.approx(6 / 12)
    assert (interval.patients, interval.count) == (2, 3)
    assert interval.low == pytest.approx(3 / 8)
    assert interval.high == pytest.approx(3 / 4)


def test_groups_weigh_the_same_however_many_items_they_have():
    interval = bootstrap_interval(
        [1.0, 1.0, 1.0, 0.0], ["a", "b", "a", "b"], groups=["liver", "liver", "liver", "spleen"]
    )
    assert interval.value == pytest.approx((1.0 + 0.0) / 2)


def test_the_same_items_give_the_same_interval():
    scores, patients = np.linspace(0, 1, 30), [index // 3 for index in range(30)]
    assert bootstrap_interval(scores, patients) == bootstrap_interval(scores, patients)
    assert bootstrap_interval(scores, patients) != bootstrap_interval(scores, patients, seed=1)


def test_one_patient_has_a_value_and_no_interval():
    interval = bootstrap_interval([0.2, 0.4], ["a", "a"])
    assert interval.value == pytest.approx(0.3)
    assert (interval.low, interval.high) == (None, None)


def test_nothing_scored_has_no_value():
    assert bootstrap_interval([], []).value is None
    assert bootstrap_interval([0.0], ["a"], denominators=[0.0]).value is None


def test_lists_of_different_length_are_refused():
    with pytest.raises(InvalidInputError, match="lengths"):
        bootstrap_interval([1.0, 2.0], ["a"])


def test_fewer_than_eight_patients_get_no_interval():
    few, enough = (
        bootstrap_interval(np.linspace(0, 1, 24), [item % patients for item in range(24)])
        for patients in (7, 8)
    )
    assert (few.low, few.high, few.patients) == (None, None, 7)
    assert few.value == pytest.approx(0.5)
    assert enough.low < enough.value < enough.high
