"""The wire page's table of failures: the client reads them alike, and the server gives them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from constructed import PICTURES
from organseg.contract import ENSEMBLE_NAME
from organseg.contract.wire_statuses import WIRE_STATUSES, Again, WireStatus
from organseg_client.core.retry import is_worth_a_retry
from organseg_client.status import error_of_status

if TYPE_CHECKING:
    from organseg.serving.embedded import EmbeddedServer


def row_of(status: str, message: str) -> WireStatus:
    """The row that a reader of the page finds: from the top, the first that fits.

    `status` is gRPC's name or HTTP's number.
    """
    for row in WIRE_STATUSES:
        words = [re.escape(word).replace("…", ".*") for word in re.findall("`(.*?)`", row.says)]
        is_meant = not words or any(re.search(word, message, re.IGNORECASE) for word in words)
        if status in (row.grpc, row.http) and is_meant:
            return row
    raise AssertionError(f"no row for {status}: {message}")


@pytest.mark.parametrize("row", WIRE_STATUSES, ids=lambda row: f"{row.grpc} {row.says}")
def test_a_message_of_a_row_is_found_there_and_retried_by_the_client_as_it_says(
    row: WireStatus,
) -> None:
    assert row_of(row.grpc, row.example) is row
    error = error_of_status(row.grpc, row.example)
    assert is_worth_a_retry(error) == (row.again is not Again.NEVER), type(error)


def infer(
    protocol: Any,
    server: Any,
    image: bytes = PICTURES[0],
    model: str = ENSEMBLE_NAME,
    output: str = "VERDICTS",
    **options: Any,
) -> Any:
    inputs = []
    for name, content in (("IMAGE", image), ("QUERY", b"Segment the spleen")):
        tensor = protocol.InferInput(name, [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[content]], dtype=object))
        inputs.append(tensor)
    outputs = [protocol.InferRequestedOutput(output)]
    return server.infer(model, inputs, outputs=outputs, **options)


FAILURES: dict[str, dict[str, Any]] = {
    "`ImageError`": {"image": b"no image"},
    "`ContractError`": {"parameters": {"contract_version": "0"}},
    "anything else": {"output": "NOPE"},
    "`unknown model`": {"model": "nope"},
    "`timeout expired`": {"timeout": 1},
}
"""How to provoke rows, by what they say."""


@pytest.mark.server
@pytest.mark.parametrize("says", FAILURES)
@pytest.mark.parametrize("protocol", [tritonclient.grpc, tritonclient.http], ids=["grpc", "http"])
def test_the_server_gives_what_the_table_says(
    says: str, protocol: Any, ensemble_server: EmbeddedServer
) -> None:
    is_grpc = protocol is tritonclient.grpc
    address = ensemble_server.grpc_address if is_grpc else ensemble_server.http_address
    with (
        protocol.InferenceServerClient(address) as server,
        pytest.raises(InferenceServerException) as caught,
    ):
        infer(protocol, server, **FAILURES[says])
    status = str(caught.value.status()).removeprefix("StatusCode.")
    row = row_of(status, str(caught.value.message()))
    assert row.says.startswith(says)
    assert status == (row.grpc if is_grpc else row.http)


@pytest.mark.server
@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda server: server.get_model_repository_index(), "restricted"),
        (lambda server: infer(tritonclient.grpc, server, client_timeout=1e-3), "DEADLINE_EXCEEDED"),
    ],
    ids=["an admin call", "a deadline"],
)
def test_gRPC_gives_the_rows_that_only_it_has(
    ask: Callable[[Any], Any], status: str, left_address: str
) -> None:
    with (
        tritonclient.grpc.InferenceServerClient(left_address) as server,
        pytest.raises(InferenceServerException) as caught,
    ):
        ask(server)
    given = str(caught.value.status()).removeprefix("StatusCode.")
    row = row_of(given, str(caught.value.message()))
    assert status in (row.grpc, row.says.strip("`"))
    assert row.again is Again.NEVER
