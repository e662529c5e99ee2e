"""A branch's failure as data: what it looks like, and where it becomes an error again."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.contract import TINY, Model, model_of, models_of, names
from organseg.serving.carried_failures import (
    FAILURES,
    CarriedFailure,
    failure_tensor,
    in_place_of_an_answer,
    raise_carried,
    without_failure,
)

BRANCHES = [model for model in models_of(TINY) if failure_tensor(model)]


def test_the_stages_that_work_beside_each_other_tell_of_their_failure():
    assert [model.name for model in BRANCHES] == ["image_features", "llava_med"]


@pytest.mark.parametrize("model", BRANCHES, ids=lambda model: model.name)
def test_what_comes_in_place_of_an_answer_has_the_contracts_types_and_shapes(model: Model):
    answer = in_place_of_an_answer(model, "NOT_FOUND", "SessionLostError: send the image again")
    assert answer.keys() == {tensor.name for tensor in model.outputs}
    for tensor in model.outputs:
        assert answer[tensor.name].dtype == tensor.dtype.numpy
        assert answer[tensor.name].shape == (1, *tensor.shape())
    with pytest.raises(CarriedFailure) as failed:
        raise_carried(answer)
    assert failed.value.code == "NOT_FOUND"
    assert failed.value.words == "SessionLostError: send the image again"


@pytest.mark.parametrize("model", BRANCHES, ids=lambda model: model.name)
def test_an_answer_tells_of_no_failure_in_each_of_its_rows(model: Model):
    answer = without_failure(model, {"anything": np.zeros((3, 2))})
    told = answer[str(failure_tensor(model))]
    assert told.shape == (3, 1)
    raise_carried({name: value[:1] for name, value in answer.items()})


def test_a_stage_that_works_alone_answers_as_it_did():
    answer = {"anything": np.zeros((1, 2))}
    assert without_failure(model_of(TINY, "gate"), answer) == answer


def test_of_two_failures_the_first_is_told():
    both = {
        name: np.array([[f"INTERNAL {name}: of the two".encode()]], dtype=np.object_)
        for name in FAILURES
    }
    with pytest.raises(CarriedFailure, match=f"^{names.FEATURES_FAILURE}: of the two$"):
        raise_carried(both)
