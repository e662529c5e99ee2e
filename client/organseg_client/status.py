"""Errors of the wire to errors of this project: one table, first match wins.

A gRPC status alone does not say enough: UNAVAILABLE covers a full queue, a server that shuts
down, a missing admin header and a wire that is cut. So a row is a status and a pattern of the
message, as servers of release 24.10 and later and gRPC itself word them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    ImageError,
    InvalidInputError,
    NotServedError,
    OrganSegError,
    QuestionError,
    ServerBusyError,
    ServerFaultError,
    ServerUnreachableError,
    SessionLostError,
    StageDeadError,
    WindowError,
)

__all__ = ["STATUS_TABLE", "StatusRow", "error_of_status"]

_REFUSALS: dict[str, type[OrganSegError]] = {
    kind.__name__: kind
    for kind in (
        ImageError,
        QuestionError,
        WindowError,
        ContractError,
        InvalidInputError,
        ServerFaultError,
        SessionLostError,
        NotServedError,
    )
}
"""The classes whose name a stage puts in front of its message (`ImageError: wanted …`)."""

_STATUS_OF_REFUSAL = {
    ServerFaultError.__name__: "INTERNAL",
    SessionLostError.__name__: "NOT_FOUND",
    NotServedError.__name__: "UNIMPLEMENTED",
}
"""The status that comes with a class; INVALID_ARGUMENT where it is not listed."""

_REFUSAL = re.compile(rf"\b({'|'.join(_REFUSALS)}): (.*)", re.DOTALL)


@dataclass(frozen=True)
class StatusRow:
    """One row of the table: which failures of a call become which error, and what to do."""

    status: str
    """The gRPC status, `INVALID_ARGUMENT`; `*` for any."""
    pattern: str
    """A regular expression that the message holds, in any case; empty for any message."""
    kind: type[OrganSegError]
    """The error to raise."""
    wanted: str
    """What the caller wanted, in front of the server's words."""
    remedy: str
    """What to do, behind them."""


_TRY_LATER = "try again in a moment, or send fewer requests at once"
_CHECK_ADDRESS = (
    "check the address (Triton's gRPC port is 8001 by default, 8000 is HTTP) and that the server "
    "runs"
)
_CHECK_KEY = "check the key or header that this server asks for"
_READ_LOG = "read the server's log"

STATUS_TABLE: tuple[StatusRow, ...] = (
    StatusRow(
        "INVALID_ARGUMENT",
        "",
        InvalidInputError,
        "wanted a request that the server takes",
        "change the request; the same one fails again",
    ),
    StatusRow(
        "RESOURCE_EXHAUSTED",
        "message larger than max|exceeds? .*message",
        InvalidInputError,
        "wanted a message within the wire's size limit",
        "send a smaller image",
    ),
    StatusRow(
        "RESOURCE_EXHAUSTED", "", ServerBusyError, "wanted the server to have room", _TRY_LATER
    ),
    StatusRow(
        "DEADLINE_EXCEEDED",
        "",
        DeadlineExceededError,
        "wanted an answer within the deadline",
        "give a longer deadline, or see whether the server is overloaded",
    ),
    StatusRow(
        "UNAUTHENTICATED", "", AuthenticationError, "wanted to be let in by the server", _CHECK_KEY
    ),
    StatusRow(
        "PERMISSION_DENIED",
        "",
        AuthenticationError,
        "wanted to be let in by the server",
        _CHECK_KEY,
    ),
    StatusRow(
        "UNAVAILABLE",
        "protocol is restricted|expecting header",
        AuthenticationError,
        "wanted to be let in by the server",
        _CHECK_KEY,
    ),
    StatusRow(
        "UNAVAILABLE",
        "maximum queue size|timeout expired|timed out in the queue",
        ServerBusyError,
        "wanted a place in the server's queue",
        _TRY_LATER,
    ),
    StatusRow(
        "UNAVAILABLE",
        "server is stopping|shutting down|server exiting|is unloading",
        ServerBusyError,
        "wanted a server that takes requests, it is shutting down",
        "try again on the server that takes over",
    ),
    # A server that drains says this of its models; so does one that is still loading them.
    StatusRow(
        "*",
        "no available versions|is not ready",
        ServerBusyError,
        "wanted a model that is loaded",
        "try again in a moment; if it stays so, see in the server's log why it did not load",
    ),
    StatusRow(
        "NOT_FOUND",
        "",
        ServerFaultError,
        "wanted a server that has the model",
        "start the server with a release of Organ-Seg, or give the address of one that has it",
    ),
    StatusRow(
        "UNAVAILABLE",
        # Not every "not found": a host name that is not known is no model.
        "unknown model.*not found",
        ServerFaultError,
        "wanted a server that has the model",
        "start the server with a release of Organ-Seg, or give the address of one that has it",
    ),
    StatusRow(
        "UNAVAILABLE",
        "hostname verification",
        ServerUnreachableError,
        "wanted a server whose certificate names this address",
        "use the host name that the certificate holds, or have one made that names this address",
    ),
    StatusRow(
        "UNAVAILABLE",
        "certificate_verify_failed",
        ServerUnreachableError,
        "wanted a server whose certificate the given authorities have signed, and which is valid",
        "give Tls the root_certificates of this server's authority, and check the certificate's "
        "dates",
    ),
    StatusRow(
        "UNAVAILABLE",
        "handshake",
        ServerUnreachableError,
        "wanted an encrypted connection (TLS)",
        "the server may speak without encryption: leave Tls out, or start it with a certificate; "
        "and check that the port is that of gRPC, 8001 by default",
    ),
    StatusRow(
        "UNAVAILABLE",
        "failed to connect.*socket closed",
        ServerUnreachableError,
        "wanted a connection to the server, it closed it at once",
        "the server may want encryption (Tls), or the certificate of a client that it knows "
        "(Tls with private_key and certificate_chain); and check that the port is that of gRPC "
        "(8001 by default, 8000 is HTTP)",
    ),
    StatusRow(
        "UNAVAILABLE",
        "",
        ServerUnreachableError,
        "wanted a connection to the server",
        _CHECK_ADDRESS,
    ),
    StatusRow(
        "CANCELLED",
        "",
        ServerUnreachableError,
        "wanted the connection to stay open until the answer came",
        "send the request again on an open client",
    ),
    StatusRow(
        "UNIMPLEMENTED",
        "",
        ServerFaultError,
        "wanted a Triton server to answer at this address",
        _CHECK_ADDRESS,
    ),
    StatusRow(
        "*",
        "stub process.* is not healthy",
        StageDeadError,
        "wanted a model whose process lives",
        "a stage of the server has died though it reports ready: reload that model or restart "
        "the server",
    ),
    StatusRow("*", "", ServerFaultError, "wanted a result", _READ_LOG),
)
"""Every failure of a call ends in one row; the last one takes what is left."""


def error_of_status(status: str, message: str) -> OrganSegError:
    """The error to raise for a failed call.

    `status` is the gRPC status with or without its `StatusCode.` prefix, empty where there was
    none, as in a stream: then the words alone decide. `message` is the server's or the wire's
    words, kept in the error's message. A refusal whose words begin with the name of one of our
    classes becomes that class and keeps only the words, which already say what was wanted, what
    came and what to do.
    """
    name = status.rpartition(".")[2]
    refusal = _REFUSAL.search(message)
    # Only where status and class agree: what a fault says of an image is still a fault.
    if refusal and name in ("", _STATUS_OF_REFUSAL.get(refusal[1], "INVALID_ARGUMENT")):
        return _REFUSALS[refusal[1]](refusal[2].strip())
    for row in STATUS_TABLE:
        is_meant = row.status in ("*", name) or (not name and row.pattern)
        if is_meant and re.search(row.pattern, message, re.IGNORECASE):
            words = message.strip() or name or "no words"
            return row.kind(f"{row.wanted}, got {words!r}; {row.remedy}")
    raise AssertionError("the table's last row takes every status")
