"""What a failed call says on the wire, and whether the same request is worth sending again.

The same statuses for every language. That the Python client reads them alike, and that the server
gives those that can be provoked, is held by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["WIRE_STATUSES", "Again", "WireStatus"]


class Again(Enum):
    """Whether to send the same request again; its value is the word in the table."""

    NEVER = "no"
    """It fails again."""
    LATER = "yes, after a pause"
    """The server may have room, or may be back."""
    ELSEWHERE = "yes, at another address first"
    """This server will not answer for a while, or not until somebody mends it."""


@dataclass(frozen=True)
class WireStatus:
    """One row: a kind of failure as both protocols give it."""

    grpc: str
    """The gRPC status."""
    http: str
    """The HTTP status; words where there is none."""
    says: str
    """What to look for in the message, as Markdown."""
    meaning: str
    """What happened, and what to do."""
    again: Again
    """Whether to send the request again."""
    example: str
    """A message of this kind, as a server or gRPC words it."""


WIRE_STATUSES: tuple[WireStatus, ...] = (
    WireStatus(
        "INVALID_ARGUMENT",
        "400",
        "`ImageError`, `QuestionError`, `WindowError`, `InvalidInputError`",
        "the request cannot be used; the words say what was wanted, what came and what to do",
        Again.NEVER,
        "in ensemble 'organ_seg', ImageError: wanted a PNG, came bytes that start as none",
    ),
    WireStatus(
        "INVALID_ARGUMENT",
        "400",
        "`ContractError`",
        "the request names another contract version than the server's",
        Again.NEVER,
        "in ensemble 'organ_seg', ContractError: wanted a request of contract version 1, got 2",
    ),
    WireStatus(
        "INVALID_ARGUMENT",
        "400",
        "anything else",
        "a tensor's name, type, shape or byte count is wrong",
        Again.NEVER,
        "unexpected inference output 'NOPE' for model 'organ_seg'",
    ),
    WireStatus(
        "NOT_FOUND",
        "404",
        "`SessionLostError`",
        "the session has ended, its image was evicted, or the server was restarted: open it again "
        "with the image, then ask again",
        Again.NEVER,
        "in ensemble 'organ_seg_ask', SessionLostError: wanted the image of a session, it is not "
        "known here any more",
    ),
    WireStatus(
        "UNIMPLEMENTED",
        "501",
        "`NotServedError`",
        "this server keeps no images, or not one of this size: ask with the image each time",
        Again.NEVER,
        "in ensemble 'organ_seg_encode', NotServedError: wanted a session, this server was "
        "started without",
    ),
    WireStatus(
        "NOT_FOUND",
        "404",
        "`no available versions`, `is not ready`",
        "the model is being loaded, or unloaded as the server stops",
        Again.ELSEWHERE,
        "Request for unknown model: 'organ_seg' has no available versions",
    ),
    WireStatus(
        "NOT_FOUND",
        "404",
        "`unknown model`",
        "another Triton server than one of Organ-Seg",
        Again.NEVER,
        "Request for unknown model: 'organ_seg' is not found",
    ),
    WireStatus(
        "UNAVAILABLE",
        "503",
        "`timeout expired`, `maximum queue size`",
        "the queue was too long for the request's `timeout`",
        Again.LATER,
        "in ensemble 'organ_seg', Request timeout expired",
    ),
    WireStatus(
        "UNAVAILABLE",
        "503",
        "`Server is stopping`",
        "the server shuts down; use a new connection",
        Again.ELSEWHERE,
        "Server is stopping, scheduler is shutting down",
    ),
    WireStatus(
        "UNAVAILABLE",
        "403",
        "`restricted`",
        "the call wants a header with a key (administration; statistics beyond loopback)",
        Again.NEVER,
        "This protocol is restricted, expecting header 'triton-grpc-protocol-organseg-admin-key'",
    ),
    WireStatus(
        "UNAVAILABLE",
        "no answer",
        "anything else",
        "no connection",
        Again.ELSEWHERE,
        "failed to connect to all addresses; last error: connection refused",
    ),
    WireStatus(
        "DEADLINE_EXCEEDED",
        "no answer",
        "",
        "the caller's own deadline passed",
        Again.NEVER,
        "Deadline Exceeded",
    ),
    WireStatus(
        "RESOURCE_EXHAUSTED",
        "",
        "`message larger than max`",
        "the gRPC library's limit of 4 MB: raise it to 2 GB for what is received and sent",
        Again.NEVER,
        "CLIENT: Received message larger than max (5242880 vs. 4194304)",
    ),
    WireStatus(
        "INTERNAL",
        "500",
        "`Stub process … is not healthy`",
        "a stage of the server has died, though it may still report ready",
        Again.ELSEWHERE,
        "Stub process 'gate_0' is not healthy.",
    ),
    WireStatus(
        "INTERNAL",
        "500",
        "`ServerFaultError`",
        "the server failed inside: tell whoever runs it",
        Again.NEVER,
        "in ensemble 'organ_seg', ServerFaultError: a stage failed with KeyError",
    ),
)
"""From the top, the first row that fits."""
