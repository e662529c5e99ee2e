from __future__ import annotations

import numpy as np
from evaluation_shapes import SIZE_HW, disk, labels_of

from organseg.evaluation.baselines import (
    NEUTRAL_QUESTION,
    Baseline,
    WithoutQuestion,
    answer_by,
)


class FillsBoxes:
    """A segmenter that calls everything inside the box the organ."""

    def segment_box(self, pixels, box_xyxy):
        x0, y0, x1, y1 = box_xyxy.astype(int)
        mask = np.zeros(pixels.shape, dtype=bool)
        mask[y0:y1, x0:x1] = True
        return mask


def test_the_oracle_box_is_the_true_masks_tight_box(make_sample):
    prediction = answer_by(FillsBoxes(), Baseline.ORACLE_BOX)(make_sample())
    assert prediction.boxes_xyxy.tolist() == [[5, 7, 16, 18]]
    assert prediction.masks.sum() == 11 * 11
    assert prediction.verdicts == ("segmented",)


def test_the_whole_image_box_is_the_frame_even_for_an_absent_organ(make_sample):
    prediction = answer_by(FillsBoxes(), Baseline.WHOLE_IMAGE_BOX)(make_sample(asked=(3,)))
    assert prediction.boxes_xyxy.tolist() == [[0, 0, SIZE_HW[1], SIZE_HW[0]]]
    assert prediction.masks.all()


def test_the_oracle_leaves_absent_organs_and_outside_questions_blank(make_sample):
    answer = answer_by(FillsBoxes(), Baseline.ORACLE_BOX)
    absent, outside = answer(make_sample(asked=(3,))), answer(make_sample(asked=()))
    assert (absent.organ_ids, absent.verdicts) == ((3,), ("absent_in_image",))
    assert (outside.organ_ids, outside.verdicts) == ((14,), ("out_of_scope",))
    assert not absent.masks.any()
    assert not outside.masks.any()


def test_each_of_several_organs_gets_its_own_box(make_sample):
    labels = labels_of((2, disk(8, 6, 3)), (13, disk(8, 24, 3)))
    sample = make_sample(asked=(13, 2), labels=labels)
    prediction = answer_by(FillsBoxes(), Baseline.ORACLE_BOX)(sample)
    assert prediction.organ_ids == (13, 2)
    assert prediction.boxes_xyxy[:, 0].tolist() == [21, 3]


def test_without_a_question_the_predictor_reads_neutral_words(make_prediction):
    heard = []

    class Listens:
        def predict(self, pixels, question):
            heard.append(question)
            return make_prediction((14, "out_of_scope", None))

    pixels = np.zeros(SIZE_HW, dtype=np.uint8)
    WithoutQuestion(Listens()).predict(pixels, "Segment the liver.")
    assert heard == [NEUTRAL_QUESTION]
