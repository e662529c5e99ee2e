from __future__ import annotations

import numpy as np
import pytest
from evaluation_shapes import disk, labels_of
from sklearn.metrics import confusion_matrix as reference_confusion

from organseg.errors import InvalidInputError
from organseg.evaluation.answers import (
    CONFUSION_ORDER,
    absence_outcomes,
    answer_accuracy,
    choice_outcomes,
    confusion_matrix,
    exact_match_outcomes,
    false_premise_recognition,
    organ_choice_accuracy,
    scope_acceptance,
    scope_outcomes,
)
from organseg.evaluation.scores import score_case
from organseg.organs import ANSWERS


def reconstructed_paper_matrix():
    """A matrix with the margins of the paper's confusion matrix; its cells are NOT the paper's.

    The paper's 14 × 14 matrix was not at hand when this was written. What is known of it: rows
    of 100 questions, alphabetical with none last; organ choice 60.1 %, none recognised in 52 of
    100, 3.2 % of organ questions answered "none". Here 60.1 % is read as the share of the 1300
    organ questions on the diagonal (781) and 3.2 % as 42 of 1300. How the wrong answers spread
    over the other organs is made up: evenly.
    """
    matrix = np.zeros((14, 14), dtype=np.int64)
    for row in range(13):
        matrix[row, row] = 61 if row == 0 else 60
        matrix[row, 13] = 6 if row == 12 else 3
        others = [column for column in range(13) if column != row]
        missing = 100 - matrix[row].sum()
        for place, column in enumerate(others):
            matrix[row, column] = missing // 12 + (place < missing % 12)
    matrix[13] = [4] * 9 + [3] * 4 + [52]
    return matrix


def percent(rate):
    return round(100 * rate.value, 1)


def test_the_papers_margins_give_the_papers_numbers():
    matrix = reconstructed_paper_matrix()
    assert (matrix.sum(axis=1) == 100).all()
    assert percent(organ_choice_accuracy(matrix)) == 60.1
    assert percent(false_premise_recognition(matrix)) == 52.0
    assert percent(scope_acceptance(matrix)) == 96.8


def test_accuracy_over_all_answers_counts_the_none_row_too():
    rate = answer_accuracy(reconstructed_paper_matrix())
    assert (rate.hits, rate.total) == (781 + 52, 1400)


def test_the_order_is_alphabetical_with_none_last():
    names = [answer.name for answer in CONFUSION_ORDER]
    assert names[:-1] == sorted(names[:-1])
    assert names[-1] == "none"
    assert {answer.id for answer in CONFUSION_ORDER} == {answer.id for answer in ANSWERS}


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(InvalidInputError, match="14"):
        organ_choice_accuracy(np.zeros((13, 13), dtype=np.int64))


def test_the_confusion_matrix_agrees_with_scikit_learn(make_case):
    generator = np.random.default_rng(0)
    asked = generator.integers(1, 15, size=60)
    answered = np.where(generator.random(60) < 0.5, asked, generator.integers(1, 15, size=60))
    scores = [
        score_case(
            make_case(
                (int(answer), "out_of_scope" if answer == 14 else "absent_in_image", None),
                asked=() if truth == 14 else (int(truth),),
            )
        )
        for truth, answer in zip(asked, answered, strict=True)
    ]
    order = [answer.id for answer in CONFUSION_ORDER]
    matrix = confusion_matrix(scores)
    assert (matrix == reference_confusion(asked, answered, labels=order)).all()
    choices = choice_outcomes(scores)
    rate = organ_choice_accuracy(matrix)
    assert (sum(hit for _, hit in choices), len(choices)) == (rate.hits, rate.total)
    refused, accepted = scope_outcomes(scores)
    assert sum(hit for _, hit in refused) == false_premise_recognition(matrix).hits
    assert sum(hit for _, hit in accepted) == scope_acceptance(matrix).hits


def test_of_several_answers_to_one_question_the_most_similar_is_the_choice(make_case):
    similarity = np.zeros(14)
    similarity[[2, 12]] = 0.4, 0.7
    case = make_case(
        (3, "absent_in_image", None),
        (13, "absent_in_image", None),
        asked=(13,),
        similarity=similarity,
    )
    assert choice_outcomes([score_case(case)]) == [("a", True)]


def test_absence_and_scope_are_rejected_apart(make_case):
    drawn = disk(5, 20, 3)
    scores = [
        score_case(make_case((1, "segmented", disk(12, 10, 5)))),
        score_case(make_case((1, "absent_in_image", None))),
        score_case(make_case((3, "absent_in_image", None), asked=(3,))),
        score_case(make_case((3, "segmented", drawn), asked=(3,))),
        score_case(make_case((14, "out_of_scope", None), asked=(3,))),
        score_case(make_case((2, "segmented", drawn), asked=(1,))),
        score_case(make_case((14, "out_of_scope", None), asked=())),
        score_case(make_case((4, "absent_in_image", None), asked=())),
    ]
    absent_rejected, present_accepted = absence_outcomes(scores)
    assert [hit for _, hit in absent_rejected] == [True, False, True]
    # The last one drew another organ: a wrong choice, not a rejection.
    assert [hit for _, hit in present_accepted] == [True, False, True]
    refused, accepted = scope_outcomes(scores)
    # "Absent" blanks the mask, but does not see that the question is out of scope.
    assert [hit for _, hit in refused] == [True, False]
    assert [hit for _, hit in accepted] == [True, True, True, True, False, True]


def test_several_organs_match_only_as_a_whole_set(make_case):
    labels = labels_of((2, disk(8, 6, 3)), (13, disk(8, 24, 3)))
    right = (2, "segmented", disk(8, 6, 3))
    left = (13, "segmented", disk(8, 24, 3))
    spare = (5, "absent_in_image", None)
    answers = [(right, left), (left, right), (right,), (right, left, spare)]
    scores = [score_case(make_case(*entries, asked=(2, 13), labels=labels)) for entries in answers]
    assert [hit for _, hit in exact_match_outcomes(scores)] == [True, True, False, False]
    assert confusion_matrix(scores).sum() == 0
