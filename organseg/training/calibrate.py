"""Stage `calibrate`: temperature and thresholds, chosen on validation data, put into the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from organseg.errors import InvalidInputError
from organseg.networks.checkpoint import Checkpoint
from organseg.networks.context_cache import ContextCache
from organseg.networks.gate import Thresholds, asked_organs
from organseg.organs import NONE, ORGANS
from organseg.training.figures import ask_on_slices, predict_places
from organseg.training.options import CalibrationOptions
from organseg.training.sampling import SliceSampler
from organseg.training.sentences import QuestionBank, asked_answers

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_TEMPERATURES = np.geomspace(0.01, 0.5, 80)
_ORGAN_MARGINS = np.linspace(0.0, 0.2, 41)


@dataclass(frozen=True, eq=False)
class Scores:
    """What the thresholds are chosen on."""

    similarity: FloatArray
    """float32 [N, 14], one row per validation question."""
    asked: BoolArray
    """bool [N, 14], the right answers."""
    presence: FloatArray
    """float32 [M, 13], one row per validation slice."""
    present: BoolArray
    """bool [M, 13]."""


@torch.no_grad()
def validation_scores(
    checkpoint: Checkpoint, validation: SliceSampler, bank: QuestionBank, slices: int
) -> Scores:
    """Asks every validation question and looks at `slices` validation slices."""
    parts = checkpoint.organ_seg.eval()
    rows = validation.spread(slices)
    device = next(parts.parameters()).device
    places = (parts.vision_language, parts.extractors, validation, rows)
    presence, present, _, _ = predict_places(*places, device)
    similarity = ask_on_slices(*places, bank.validation, device)
    return Scores(
        similarity=similarity.numpy(),
        asked=torch.stack([asked_answers(each) for each in bank.validation]).numpy(),
        presence=presence.numpy(),
        present=present.numpy(),
    )


def calibrate(cache: ContextCache, scores: Scores, options: CalibrationOptions) -> ContextCache:
    """The cache with temperature and thresholds chosen on these scores."""
    margin = choose_rejection_margin(scores.similarity, scores.asked, options.acceptance)
    return replace(
        cache,
        temperature=choose_temperature(scores.similarity, scores.asked),
        thresholds=Thresholds(
            rejection_margin=margin,
            organ_margin=choose_organ_margin(scores.similarity, scores.asked, margin),
            presence=choose_presence(scores.presence, scores.present, options.presence_acceptance),
        ),
    )


def choose_temperature(similarity: FloatArray, asked: BoolArray) -> float:
    """The temperature under which the right single answers are likeliest."""
    single = asked.sum(axis=1) == 1
    _demand(bool(single.any()), "a question with one right answer", "none")
    cosines = similarity[single].astype(np.float64)
    right = asked[single].argmax(axis=1)
    losses = []
    for temperature in _TEMPERATURES:
        scaled = cosines / temperature
        top = scaled.max(axis=1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        losses.append(float(np.mean(total - scaled[np.arange(len(right)), right])))
    return float(_TEMPERATURES[int(np.argmin(losses))])


def choose_rejection_margin(similarity: FloatArray, asked: BoolArray, acceptance: float) -> float:
    """The largest margin that still accepts the wanted share of questions for an organ."""
    in_scope = ~asked[:, NONE.id - 1]
    _demand(bool(in_scope.any()), "a question for an organ", "none")
    nearness = similarity[:, : len(ORGANS)].max(axis=1) - similarity[:, NONE.id - 1]
    return _largest_threshold(nearness[in_scope], acceptance)


def choose_organ_margin(similarity: FloatArray, asked: BoolArray, rejection_margin: float) -> float:
    """The margin with most questions, for one organ or several, answered exactly right.

    Questions for one organ and for several weigh alike. Of the margins that do as well as the
    best one, to within a standard error of its score, the smallest: what was not asked for
    should not be drawn on the strength of chance (Breiman et al. 1984 choose trees so).
    """
    counts = asked[:, : len(ORGANS)].sum(axis=1)
    scores, errors = [], []
    for margin in _ORGAN_MARGINS:
        thresholds = Thresholds(rejection_margin=rejection_margin, organ_margin=float(margin))
        shares, variances = [], []
        for rows in (np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)):
            if rows.size:
                exact = [
                    asked_organs(similarity[row], thresholds)
                    == (np.flatnonzero(asked[row, : len(ORGANS)]) + 1).tolist()
                    for row in rows
                ]
                share = float(np.mean(exact))
                shares.append(share)
                variances.append(share * (1.0 - share) / rows.size)
        scores.append(float(np.mean(shares)) if shares else 0.0)
        errors.append(float(np.sqrt(sum(variances))) / max(len(shares), 1))
    best = int(np.argmax(scores))
    good_enough = np.flatnonzero(np.array(scores) >= scores[best] - errors[best])
    return float(_ORGAN_MARGINS[good_enough[0]])


def choose_presence(
    presence: FloatArray, present: BoolArray, acceptance: float
) -> tuple[float, ...]:
    """Per organ the largest threshold that offers the wanted share of slices that show it.

    An organ that no validation slice shows keeps one half.
    """
    return tuple(
        _largest_threshold(presence[present[:, index], index], acceptance)
        if present[:, index].any()
        else 0.5
        for index in range(len(ORGANS))
    )


def _largest_threshold(values: npt.NDArray[np.float32], acceptance: float) -> float:
    """The largest t for which at least `acceptance` of the values are >= t."""
    if not 0.0 < acceptance <= 1.0:
        raise InvalidInputError(
            f"wanted a share to accept above 0 and up to 1, got {acceptance:g}: correct it"
        )
    ordered = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    kept = int(np.ceil(acceptance * len(ordered) - 1e-9))
    return float(ordered[kept - 1])


def _demand(holds: bool, wanted: str, found: str) -> None:
    if not holds:
        raise InvalidInputError(
            f"wanted {wanted} to calibrate with, got {found}: widen the validation questions"
        )
