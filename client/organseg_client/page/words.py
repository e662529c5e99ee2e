"""Errors as the page tells them: what happened, what is kept, what to do, whether to try again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    InvalidInputError,
    NothingSegmentedError,
    NotServedError,
    OrganSegError,
    ServerBusyError,
    ServerError,
    ServerUnreachableError,
)

__all__ = ["PageProblem", "ScanClosedError", "TooLargeError", "describe"]

_KEPT = "Your image and your questions are kept."


class ScanClosedError(InvalidInputError):
    """The scan that a request names is not open (any more)."""


class TooLargeError(InvalidInputError):
    """An upload or a scan is larger than the page may hold."""


@dataclass(frozen=True)
class PageProblem:
    """One error, ready to be shown."""

    status: int
    """The HTTP status."""
    kind: str
    """A word for programs."""
    title: str
    """What happened, in a few words."""
    words: str
    """The whole message: what was wanted, what came, what to do."""
    hint: str = ""
    """What to do next, and what is kept."""
    command: str = ""
    """A command that helps, to be copied."""
    can_retry: bool = False
    """Whether the same request may succeed later."""

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer: `{"error": {...}}`."""
        return {"error": asdict(self)}


def describe(error: BaseException, servers: tuple[str, ...]) -> PageProblem:
    """The words for an error; one that is not ours tells nothing of its inside."""
    where = " or ".join(servers)
    if isinstance(error, ScanClosedError):
        return PageProblem(410, "scan_closed", "This image is no longer open", str(error))
    if isinstance(error, TooLargeError):
        return PageProblem(413, "too_large", "Too large for this page", str(error))
    if isinstance(error, InvalidInputError):
        return PageProblem(422, "bad_input", "This cannot be used", str(error))
    if isinstance(error, NothingSegmentedError):
        return PageProblem(422, "nothing_segmented", "There is nothing to save", str(error))
    if isinstance(error, NotServedError):
        return PageProblem(
            502, "not_served", "This server does not offer that", str(error), hint=_KEPT
        )
    if isinstance(error, ServerUnreachableError):
        return PageProblem(
            503,
            "server_unreachable",
            "The server does not answer",
            f"Nothing answers at {where}. Start the server, in a checkout with the command below "
            "(else organseg serve RELEASE), and press Retry.",
            hint=_KEPT,
            command="make serve",
            can_retry=True,
        )
    if isinstance(error, ServerBusyError):
        return PageProblem(
            503, "server_busy", "The server is busy", str(error), hint=_KEPT, can_retry=True
        )
    if isinstance(error, DeadlineExceededError):
        return PageProblem(
            504, "too_slow", "No answer in time", str(error), hint=_KEPT, can_retry=True
        )
    if isinstance(error, AuthenticationError):
        return PageProblem(
            502, "server_refuses", "The server refuses this client", str(error), hint=_KEPT
        )
    if isinstance(error, ContractError):
        return PageProblem(
            502, "other_contract", "Server and client do not fit", str(error), hint=_KEPT
        )
    if isinstance(error, ServerError):
        return PageProblem(
            502, "server_fault", "The server failed", str(error), hint=_KEPT, can_retry=True
        )
    if isinstance(error, OrganSegError):
        return PageProblem(500, "error", "This did not work", str(error), hint=_KEPT)
    return PageProblem(
        500,
        "fault",
        "The page's own server failed",
        f"It met an error that it does not know ({type(error).__name__}); its terminal says more.",
        hint=_KEPT,
        can_retry=True,
    )
