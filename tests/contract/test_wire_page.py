"""The page of the wire: the contract's facts are on it, and nothing else is left to fill in."""

from __future__ import annotations

import pytest

from organseg.contract import CONTRACT_VERSION, ENSEMBLE_NAME, TINY, Verdict, ensembles_of
from organseg.contract.explanation import explanation_model
from organseg.contract.limits import MAX_QUERY_BYTES, MAX_SIDE, MIN_SIDE
from organseg.contract.wire_page import render_wire
from organseg.contract.wire_statuses import WIRE_STATUSES
from organseg.imaging.windowing import CT_WINDOW_HU
from organseg.organs import ANSWERS
from organseg.serving.embedded.options import (
    DEFAULT_GRPC_PORT,
    DEFAULT_HTTP_PORT,
    DEFAULT_METRICS_PORT,
)

PAGE = render_wire()


def test_every_tensor_that_a_client_meets_is_in_a_table_with_its_type() -> None:
    explain = explanation_model(TINY)
    sides = [side for each in ensembles_of(TINY) for side in (each.inputs, each.outputs)]
    for side in (*sides, explain.inputs, explain.outputs):
        for tensor in side:
            name = f"`{tensor.name}`{' (optional)' if tensor.optional else ''}"
            assert f"| {name} | {tensor.dtype.value} | " in PAGE
            assert f" | {tensor.doc} |" in PAGE
    for name in (explain.name, *(ensemble.name for ensemble in ensembles_of(TINY))):
        assert f"`{name}`" in PAGE


def test_verdicts_organs_limits_and_version_are_the_contracts() -> None:
    for verdict in Verdict:
        assert f"| `{verdict.value}` | " in PAGE
    for organ in ANSWERS:
        assert f"| {organ.id} | {organ.letter} | {organ.name} |" in PAGE
    assert f"{MIN_SIDE} to {MAX_SIDE} pixels" in PAGE
    assert f"{MAX_QUERY_BYTES} bytes of UTF-8" in PAGE
    assert f"`{CONTRACT_VERSION}`" in PAGE
    assert ENSEMBLE_NAME in PAGE


def test_ports_and_window_are_those_of_the_server() -> None:
    for name, port in (
        ("gRPC", DEFAULT_GRPC_PORT),
        ("HTTP", DEFAULT_HTTP_PORT),
        ("metrics", DEFAULT_METRICS_PORT),
    ):
        assert f"| {name} | {port} |" in PAGE
    low, high = CT_WINDOW_HU
    assert f"[{low:g}, {high:g}]" in PAGE
    assert f"get {low:g} to {high:g}" in PAGE


@pytest.mark.parametrize("row", WIRE_STATUSES, ids=lambda row: f"{row.grpc} {row.says}")
def test_every_status_is_in_the_table(row) -> None:
    assert (f"| {row.grpc} | {row.http} | {row.says} | {row.meaning} | {row.again.value} |") in PAGE


def test_no_mark_is_left_and_the_page_ends_in_one_newline() -> None:
    assert "{{" not in PAGE
    assert PAGE.endswith("\n")
    assert not PAGE.endswith("\n\n")
