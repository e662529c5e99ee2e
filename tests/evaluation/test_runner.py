from __future__ import annotations

import weakref

import numpy as np
from evaluation_shapes import disk, labels_of

from organseg.evaluation.baselines import Baseline
from organseg.evaluation.runner import evaluate, evaluate_baseline
from organseg.evaluation.surface import ZRange


class ByQuestion:
    """A predictor that looks its answers up by the question."""

    def __init__(self, answers):
        self.answers = answers
        self.seen = []

    def predict(self, pixels, question):
        self.seen.append((pixels.shape, question))
        return self.answers[question]


def test_every_sample_is_asked_once_and_scored_in_order(make_sample, make_prediction):
    predictor = ByQuestion(
        {
            "bile?": make_prediction((1, "segmented", disk(12, 10, 5))),
            "heart?": make_prediction((14, "out_of_scope", None)),
        }
    )
    samples = [
        make_sample(question="bile?", slice_index=3),
        make_sample(question="heart?", asked=(), slice_index=3),
        make_sample(question="bile?", slice_index=4),
        make_sample(question="bile?", patient="b"),
    ]
    result = evaluate(predictor, iter(samples), show_progress=False)
    assert [question for _, question in predictor.seen] == ["bile?", "heart?", "bile?", "bile?"]
    assert [(case.patient_id, case.slice_index) for case in result.cases] == [
        ("a", 3),
        ("a", 3),
        ("a", 4),
        ("b", 0),
    ]
    assert [(volume.patient_id, volume.slices) for volume in result.volumes] == [("a", 2), ("b", 1)]
    assert all(volume.scores[ZRange.FIXED].dice == 1.0 for volume in result.volumes)


def test_masks_are_dropped_once_a_case_is_scored(make_sample, make_prediction):
    masks = []

    class Draws:
        def predict(self, pixels, question):
            prediction = make_prediction((1, "segmented", disk(12, 10, 5)))
            masks.append(weakref.ref(prediction))
            alive = sum(reference() is not None for reference in masks)
            assert alive <= 2  # this one and the one just scored
            return prediction

    result = evaluate(
        Draws(), (make_sample(slice_index=index) for index in range(20)), show_progress=False
    )
    assert len(result.cases) == 20


def test_an_observer_sees_each_case_with_its_scores(make_sample, make_prediction):
    seen = []

    class Observes:
        def observe(self, case, scores):
            seen.append((case.slice_index, scores.slice_index, case.prediction.masks.any()))

    predictor = ByQuestion({"q": make_prediction((1, "segmented", disk(12, 10, 5)))})
    samples = [make_sample(question="q", slice_index=index) for index in range(3)]
    evaluate(predictor, samples, observer=Observes(), show_progress=False)
    assert seen == [(0, 0, True), (1, 1, True), (2, 2, True)]


def test_an_oracle_box_beats_the_whole_image_with_the_same_segmenter(make_sample):
    class FillsBoxes:
        def segment_box(self, pixels, box_xyxy):
            x0, y0, x1, y1 = box_xyxy.astype(int)
            mask = np.zeros(pixels.shape, dtype=bool)
            mask[y0:y1, x0:x1] = True
            return mask

    samples = [make_sample(asked=(3,), labels=labels_of((3, disk(9, 9, 4))))]
    dice = {}
    for baseline in Baseline:
        result = evaluate_baseline(FillsBoxes(), baseline, samples, show_progress=False)
        dice[baseline] = result.cases[0].organs[0].counts.dice
    assert dice[Baseline.ORACLE_BOX] > 2 * dice[Baseline.WHOLE_IMAGE_BOX]


def test_progress_is_shown_on_request(make_sample, make_prediction, capsys):
    predictor = ByQuestion({"q": make_prediction((14, "out_of_scope", None))})
    evaluate(predictor, [make_sample(question="q")], label="tiny on phantoms")
    assert "tiny on phantoms" in capsys.readouterr().err
