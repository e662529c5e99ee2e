"""Every failure of the wire becomes an error of ours, by status and message."""

from __future__ import annotations

import grpc
import pytest

from organseg import errors
from organseg_client.status import STATUS_TABLE, error_of_status

SEEN = [
    ("INVALID_ARGUMENT", "unexpected shape for input 'QUERY'", errors.InvalidInputError),
    ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", errors.InvalidInputError),
    ("RESOURCE_EXHAUSTED", "Sent message larger than max (5 vs. 4)", errors.InvalidInputError),
    ("RESOURCE_EXHAUSTED", "Bandwidth exhausted", errors.ServerBusyError),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceededError),
    ("UNAUTHENTICATED", "no key", errors.AuthenticationError),
    ("PERMISSION_DENIED", "not yours", errors.AuthenticationError),
    (
        "UNAVAILABLE",
        "This protocol is restricted, expecting header 'triton-grpc-protocol-admin'",
        errors.AuthenticationError,
    ),
    ("UNAVAILABLE", "Exceeds maximum queue size", errors.ServerBusyError),
    ("UNAVAILABLE", "Request timeout expired", errors.ServerBusyError),
    ("UNAVAILABLE", "[case 7] Request timeout expired", errors.ServerBusyError),
    (
        "UNAVAILABLE",
        "Server is stopping, scheduler for model has stopped accepting new inference requests",
        errors.ServerBusyError,
    ),
    (
        "NOT_FOUND",
        "Request for unknown model: 'organ_seg' has no available versions",
        errors.ServerBusyError,
    ),
    (
        "UNAVAILABLE",
        "Request for unknown model: 'organ_seg' version 1 is not at ready state: is not ready",
        errors.ServerBusyError,
    ),
    (
        "NOT_FOUND",
        "Request for unknown model: 'organ_seg' is not found",
        errors.ServerFaultError,
    ),
    (
        "UNAVAILABLE",
        "Request for unknown model: 'organ_seg' is not found",
        errors.ServerFaultError,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection "
        "refused",
        errors.ServerUnreachableError,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Custom "
        "verification check failed with error: UNAUTHENTICATED: Hostname Verification Check "
        "failed.",
        errors.ServerUnreachableError,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake "
        "failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL "
        "routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer "
        "certificate: OK",
        errors.ServerUnreachableError,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake "
        "failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL "
        "routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context",
        errors.ServerUnreachableError,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket "
        "closed",
        errors.ServerUnreachableError,
    ),
    ("UNAVAILABLE", "Socket closed", errors.ServerUnreachableError),
    ("UNAVAILABLE", "DNS resolution failed for nowhere:8001", errors.ServerUnreachableError),
    (
        "UNAVAILABLE",
        "errors resolving nowhere:8001: [field:hostname lookup error:address lookup failed for "
        "nowhere:8001: Domain name not found]",
        errors.ServerUnreachableError,
    ),
    ("CANCELLED", "Channel closed!", errors.ServerUnreachableError),
    ("UNIMPLEMENTED", "", errors.ServerFaultError),
    (
        "INTERNAL",
        "Failed to process the request(s) for model 'gate_0_0', message: Stub process "
        "'gate_0_0' is not healthy.",
        errors.StageDeadError,
    ),
    ("INTERNAL", "something else", errors.ServerFaultError),
    ("UNKNOWN", "", errors.ServerFaultError),
    ("", "a failure without a status", errors.ServerFaultError),
    ("", "Exceeds maximum queue size", errors.ServerBusyError),
    ("", "Request for unknown model: 'x' is not found", errors.ServerFaultError),
]


@pytest.mark.parametrize(("status", "message", "kind"), SEEN)
def test_a_failure_becomes_its_error_and_keeps_the_servers_words(
    status: str, message: str, kind: type[errors.OrganSegError]
) -> None:
    for prefix in ("", "StatusCode."):
        error = error_of_status(prefix + status, message)
        assert type(error) is kind
        assert message in str(error)
        assert str(error).startswith("wanted ")
        assert "; " in str(error)


def test_every_row_of_the_table_is_reached_by_a_failure_above() -> None:
    reached = set()
    for status, message, _ in SEEN:
        words = str(error_of_status(status, message))
        reached |= {
            row
            for row in STATUS_TABLE
            if words.startswith(row.wanted) and words.endswith(row.remedy)
        }
    assert reached == set(STATUS_TABLE)


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_every_status_of_grpc_ends_in_an_error_of_ours(status: grpc.StatusCode) -> None:
    error = error_of_status(str(status), "words nobody has heard before")
    assert isinstance(error, errors.OrganSegError)
    assert "words nobody has heard before" in str(error)


@pytest.mark.parametrize("status", ["StatusCode.INVALID_ARGUMENT", ""])
@pytest.mark.parametrize("prefix", ["", "in ensemble 'organ_seg', "])
@pytest.mark.parametrize(
    "kind",
    [
        errors.ImageError,
        errors.QuestionError,
        errors.WindowError,
        errors.InvalidInputError,
        errors.ContractError,
    ],
)
def test_a_refusal_becomes_the_class_that_it_names_and_keeps_only_its_words(
    kind: type[errors.OrganSegError], prefix: str, status: str
) -> None:
    words = "wanted an image: PNG or JPEG, came 0 bytes; send it whole"
    error = error_of_status(status, f"{prefix}{kind.__name__}: {words}")
    assert type(error) is kind
    assert str(error) == words


def test_a_fault_that_a_stage_explains_keeps_only_its_words() -> None:
    words = "a stage failed with KeyError; the server's log says where"
    error = error_of_status("INTERNAL", f"in ensemble 'organ_seg', ServerFaultError: {words}")
    assert type(error) is errors.ServerFaultError
    assert str(error) == words


def test_a_session_that_is_lost_is_none_of_the_models_that_are_not_found() -> None:
    words = "wanted a session that is known here, got none; send the image again"
    for status in ("StatusCode.NOT_FOUND", "NOT_FOUND", ""):
        for prefix in ("", "in ensemble 'organ_seg_ask', "):
            error = error_of_status(status, f"{prefix}SessionLostError: {words}")
            assert type(error) is errors.SessionLostError
            assert str(error) == words
    for words, kind in (
        ("Request for unknown model: 'sessions' has no available versions", errors.ServerBusyError),
        ("Request for unknown model: 'sessions' is not found", errors.ServerFaultError),
    ):
        assert type(error_of_status("NOT_FOUND", words)) is kind
    assert type(error_of_status("INTERNAL", "SessionLostError: no")) is errors.ServerFaultError
    refused = error_of_status("UNIMPLEMENTED", "in ensemble 'x', NotServedError: no room")
    assert type(refused) is errors.NotServedError


def test_a_class_that_a_stage_may_not_name_stays_an_invalid_input() -> None:
    error = error_of_status("INVALID_ARGUMENT", "AuthenticationError: wanted a key")
    assert type(error) is errors.InvalidInputError
    for status, message in (
        ("INTERNAL", "ImageError: no"),
        ("INTERNAL", "CheckpointError: no"),
    ):
        assert type(error_of_status(status, message)) is errors.ServerFaultError
    fault = error_of_status("INVALID_ARGUMENT", "ServerFaultError: no")
    assert type(fault) is errors.InvalidInputError
