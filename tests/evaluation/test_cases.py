from __future__ import annotations

import numpy as np
import pytest
from evaluation_shapes import SIZE_HW, disk, labels_of

from organseg.contract import Verdict
from organseg.errors import DatasetError, InvalidInputError
from organseg.evaluation.cases import Case, Prediction
from organseg.organs import NONE


def test_truth_says_segmented_absent_or_out_of_scope(make_case):
    blank = (14, "out_of_scope", None)
    present, absent, outside = (make_case(blank, asked=asked) for asked in ((1,), (3,), ()))
    assert present.truth_verdicts == (Verdict.SEGMENTED,)
    assert absent.truth_verdicts == (Verdict.ABSENT_IN_IMAGE,)
    assert outside.truth_verdicts == (Verdict.OUT_OF_SCOPE,)
    assert outside.asked_organ_ids == (NONE.id,)
    assert present.truth_masks.sum() == disk(12, 10, 5).sum()
    assert not absent.truth_masks.any()
    assert outside.truth_masks.shape == (1, *SIZE_HW)


def test_presence_is_known_for_labelled_organs_only(make_case):
    case = make_case((1, "absent_in_image", None), labelled={1, 3})
    assert case.truth_presence[:4] == (True, None, False, None)


def test_a_question_about_an_unlabelled_organ_is_refused(make_sample):
    with pytest.raises(DatasetError, match="Leave such questions out"):
        make_sample(asked=(10,), labelled={1, 3})


def test_an_organ_asked_for_twice_is_refused(make_sample):
    with pytest.raises(DatasetError, match="once"):
        make_sample(asked=(1, 1))


def test_labels_of_another_slice_size_are_refused(make_sample):
    with pytest.raises(DatasetError, match="one shape"):
        make_sample(labels=labels_of((1, disk(3, 3, 2)))[:-1])


def test_masks_of_another_size_than_the_image_are_refused(make_sample):
    small = Prediction((1,), ("segmented",), np.zeros((1, 8, 8), bool), np.zeros((1, 4), "f4"))
    with pytest.raises(InvalidInputError, match="Resize"):
        Case.of(make_sample(), small)


@pytest.mark.parametrize(
    "changed",
    [
        {"organ_ids": (0,)},
        {"organ_ids": (15,)},
        {"organ_ids": ()},
        {"verdicts": ("segmented", "segmented")},
        {"verdicts": ("rejected",)},
        {"masks": np.zeros((1, 4, 4))},
        {"masks": np.zeros((2, 4, 4), bool)},
        {"boxes_xyxy": np.zeros((4,), "f4")},
        {"similarity": np.zeros(13, "f4")},
        {"presence": np.zeros(14, "f4")},
    ],
)
def test_a_prediction_that_does_not_fit_together_is_refused(changed):
    whole = {
        "organ_ids": (1,),
        "verdicts": ("segmented",),
        "masks": np.zeros((1, 4, 4), bool),
        "boxes_xyxy": np.zeros((1, 4), "f4"),
        "similarity": np.zeros(14, "f4"),
        "presence": np.zeros(13, "f4"),
    }
    Prediction(**whole)
    with pytest.raises(InvalidInputError, match="wanted"):
        Prediction(**{**whole, **changed})
