"""Calibration: known thresholds come out of constructed scores."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.errors import InvalidInputError
from organseg.networks.context_cache import default_context_cache
from organseg.training.calibrate import (
    Scores,
    calibrate,
    choose_organ_margin,
    choose_presence,
    choose_rejection_margin,
    choose_temperature,
)
from organseg.training.options import CalibrationOptions


def rows(*answers: tuple[int, ...]) -> np.ndarray:
    asked = np.zeros((len(answers), 14), dtype=np.bool_)
    for row, organs in enumerate(answers):
        asked[row, [organ - 1 for organ in organs]] = True
    return asked


def test_the_rejection_margin_is_the_largest_that_accepts_the_wanted_share():
    similarity = np.zeros((20, 14), dtype=np.float32)
    similarity[:, 0] = np.linspace(0.1, 1.05, 20)  # Margins .10, .15, ... 1.05.
    asked = rows(*[(1,)] * 20)
    assert choose_rejection_margin(similarity, asked, 0.95) == pytest.approx(0.15)
    assert choose_rejection_margin(similarity, asked, 1.0) == pytest.approx(0.10)
    assert choose_rejection_margin(similarity, asked, 0.5) == pytest.approx(0.60)


def test_presence_thresholds_are_chosen_for_each_organ():
    presence = np.tile(np.linspace(0.05, 1.0, 20, dtype=np.float32)[:, None], (1, 13))
    present = np.zeros((20, 13), dtype=np.bool_)
    present[10:, 0] = True
    present[:, 1] = True
    chosen = choose_presence(presence, present, 0.9)
    assert chosen[0] == pytest.approx(0.60)  # The second lowest of the ten shown.
    assert chosen[1] == pytest.approx(0.15)
    assert chosen[2] == 0.5  # Never shown.


def test_the_organ_margin_lets_two_in_and_keeps_the_third_out():
    similarity = np.full((4, 14), -1.0, dtype=np.float32)
    similarity[0, [0, 1]] = 0.80, 0.71
    similarity[1, [3, 4]] = 0.80, 0.715
    similarity[2, [6, 7]] = 0.80, 0.66
    similarity[3, [8, 9]] = 0.80, 0.65
    asked = rows((1, 2), (4, 5), (7,), (9,))
    margin = choose_organ_margin(similarity, asked, 0.0)
    assert 0.09 < margin < 0.14


def test_of_organ_margins_that_do_alike_within_chance_the_smallest_is_taken():
    # Of 23 pairs 20 have the second organ 0.02 behind, one 0.15, and two too far for any margin.
    similarity = np.zeros((23, 14), dtype=np.float32)
    asked = np.zeros((23, 14), dtype=np.bool_)
    asked[:, :2] = True
    similarity[:, 0], similarity[:, 1] = 0.8, 0.78
    similarity[20, 1], similarity[21:, 1] = 0.65, 0.3
    assert choose_organ_margin(similarity, asked, 0.0) == pytest.approx(0.025)


def test_scores_made_at_a_temperature_give_it_back():
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-0.3, 0.6, (3000, 14)).astype(np.float32)
    chances = np.exp(similarity / 0.1)
    chances /= chances.sum(axis=1, keepdims=True)
    right = [int(rng.choice(14, p=row)) + 1 for row in chances]
    found = choose_temperature(similarity, rows(*[(answer,) for answer in right]))
    assert found == pytest.approx(0.1, rel=0.1)


def test_calibration_changes_the_thresholds_and_nothing_else_of_the_cache():
    rng = np.random.default_rng(0)
    cache = default_context_cache()
    scores = Scores(
        similarity=rng.uniform(-1, 1, (30, 14)).astype(np.float32),
        asked=rows(*[(1 + index % 14,) for index in range(30)]),
        presence=rng.uniform(0, 1, (30, 13)).astype(np.float32),
        present=rng.uniform(0, 1, (30, 13)) > 0.5,
    )
    found = calibrate(cache, scores, CalibrationOptions())
    assert np.array_equal(found.prototypes, cache.prototypes)
    assert found.labels == cache.labels
    assert found.thresholds != cache.thresholds
    assert found.temperature != cache.temperature


def test_questions_without_an_answer_among_the_organs_are_refused():
    with pytest.raises(InvalidInputError, match="a question for an organ"):
        choose_rejection_margin(np.zeros((1, 14), np.float32), rows((14,)), 0.95)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(InvalidInputError, match="above 0"):
        choose_rejection_margin(np.zeros((1, 14), np.float32), rows((1,)), 0.0)
