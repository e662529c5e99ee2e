"""Failures of a branch of the flow, carried as data to where the branches meet.

Triton before 26.02 loses count of an ensemble's steps once one branch has failed while another is
at work: the request is never given back, and the server may crash (docs/decisions/0021-sessions.md
says more). So a stage that works beside another answers in any case, with a tensor that tells of
its failure; the stage behind both makes an error of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from organseg.contract import Model, names
from organseg.serving.stage import Arrays

FAILURES = (names.FEATURES_FAILURE, names.STATES_FAILURE)
"""The tensors that tell of a failure: empty, or Triton's name of the code, a blank, the words."""


class CarriedFailure(Exception):
    """What another stage has failed with; its words are for the client."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        """Triton's name of the code: `NOT_FOUND`."""
        self.words = words
        """What the client reads."""


def failure_tensor(model: Model) -> str | None:
    """The output by which a stage tells of its failure; none for a stage that just fails."""
    return next((tensor.name for tensor in model.outputs if tensor.name in FAILURES), None)


def without_failure(model: Model, answer: Arrays) -> Arrays:
    """An answer as the stage behind takes it: with an empty word about a failure."""
    name = failure_tensor(model)
    if name is None:
        return answer
    rows = next(iter(answer.values())).shape[0]
    return {**answer, name: np.full((rows, 1), b"", dtype=np.object_)}


def in_place_of_an_answer(model: Model, code: str, words: str) -> Arrays:
    """Zeros of every output's shape, and what went wrong."""
    values: dict[str, Any] = {
        tensor.name: np.zeros((1, *tensor.shape()), dtype=tensor.dtype.numpy)
        for tensor in model.outputs
    }
    values[str(failure_tensor(model))] = np.array([[f"{code} {words}".encode()]], dtype=np.object_)
    return values


def raise_carried(inputs: Arrays) -> None:
    """Raises `CarriedFailure` where a stage before has failed."""
    for name in FAILURES:
        told = inputs[name].item() if name in inputs else b""
        if told:
            code, _, words = told.decode().partition(" ")
            raise CarriedFailure(code, words)
