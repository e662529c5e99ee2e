"""Responses that do not fit the contract are refused, tensor by tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from client_fakes import BOTH_KIDNEYS, RECEIVED, FakeTransport

from organseg.errors import ContractError
from organseg_client import OrganSegClient

IMAGE = np.zeros((40, 60), dtype=np.uint8)


def ask(name: str, array: Any) -> None:
    """Asks a server whose response has one tensor changed."""
    transport = FakeTransport(entries=BOTH_KIDNEYS, changed_outputs={name: array})
    OrganSegClient(transport=transport).segment(IMAGE, "Show me both kidneys.")


@pytest.mark.parametrize("name", RECEIVED)
def test_a_missing_tensor_is_named(name: str) -> None:
    with pytest.raises(ContractError, match=f"wanted {name} in the response, got none"):
        ask(name, None)


@pytest.mark.parametrize("name", RECEIVED)
def test_a_tensor_of_another_type_is_named(name: str) -> None:
    with pytest.raises(ContractError, match=f"wanted {name} as .* got int8"):
        ask(name, np.zeros((1, 2), dtype=np.int8))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("MASKS", np.zeros((1, 2, 40), bool)),
        ("MASKS", np.zeros((2, 2, 40, 60), bool)),
        ("MASKS", np.zeros((1, 14, 40, 60), bool)),
        ("ORGANS", np.ones((1, 3), np.int32)),
        ("ORGANS", np.ones((1, 0), np.int32)),
        ("BOXES", np.zeros((1, 2, 5), np.float32)),
        ("BOXES", np.zeros((1, 1, 4), np.float32)),
        ("QUALITY", np.zeros((1, 1), np.float32)),
        ("SIMILARITY", np.zeros((1, 13), np.float32)),
        ("PRESENCE", np.zeros((1, 14), np.float32)),
        ("PRESENCE", np.zeros((13,), np.float32)),
    ],
)
def test_a_shape_that_does_not_fit_the_contract_or_the_other_tensors_is_refused(
    name: str, array: np.ndarray
) -> None:
    with pytest.raises(ContractError, match=r"wanted \w+ of shape .*; use a client and a server"):
        ask(name, array)


def test_an_organ_or_a_verdict_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ContractError, match=r"wanted an organ id and a verdict .* got 15"):
        ask("ORGANS", np.array([[15, 2]], dtype=np.int32))
    with pytest.raises(ContractError, match=r"wanted an organ id and a verdict .* got 2 and b'no'"):
        ask("VERDICTS", np.array([[b"no", b"segmented"]], dtype=object))
    with pytest.raises(ContractError, match="wanted an organ id and a verdict"):
        ask("VERDICTS", np.array([[b"\xff", b"segmented"]], dtype=object))


def test_verdicts_may_arrive_as_text_of_fixed_width() -> None:
    ask("VERDICTS", np.array([[b"segmented", b"absent_in_image"]]))
    ask("VERDICTS", np.array([["segmented", "absent_in_image"]]))
