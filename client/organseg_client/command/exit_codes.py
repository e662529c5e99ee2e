"""The exit codes of `organseg-client`, and which error ends in which."""

from __future__ import annotations

from enum import IntEnum

from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    InvalidInputError,
    OrganSegError,
    ServerBusyError,
    ServerError,
    ServerUnreachableError,
)

__all__ = ["EXIT_CODE_HELP", "ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """How a command ended."""

    ANSWERED = 0
    """The server answered; "absent" and "out of scope" are answers too."""
    UNHEALTHY = 1
    """`health`: a server is not healthy. 1, because health checks of containers want that."""
    BAD_INPUT = 2
    """The arguments, the image, the question or an output file cannot be used."""
    NO_SERVER = 3
    """No server, a busy one, one that refused the caller, or no answer in time."""
    SERVER_FAULT = 4
    """The server failed inside, or speaks another version of the contract."""
    PARTLY_FAILED = 5
    """`batch`, `volume`: some rows or slices were answered, others failed."""
    ALL_FAILED = 6
    """`batch`: every row failed."""
    INTERRUPTED = 130
    """Ctrl-C."""


EXIT_CODE_HELP = """exit codes:
  0  answered (also: organ absent, question out of scope)
  1  health: a server is not healthy
  2  bad input: arguments, image, question, window, output file
  3  server unreachable, busy, refusing the caller, or too slow
  4  server fault, or another version of the contract
  5  batch, volume: some rows or slices failed
  6  batch: every row failed
  130  interrupted"""

_CODES: tuple[tuple[type[OrganSegError], ExitCode], ...] = (
    (InvalidInputError, ExitCode.BAD_INPUT),
    (ServerUnreachableError, ExitCode.NO_SERVER),
    (ServerBusyError, ExitCode.NO_SERVER),
    (DeadlineExceededError, ExitCode.NO_SERVER),
    (AuthenticationError, ExitCode.NO_SERVER),
    (ServerError, ExitCode.SERVER_FAULT),
    (ContractError, ExitCode.SERVER_FAULT),
    (OrganSegError, ExitCode.SERVER_FAULT),
)


def exit_code_of(error: OrganSegError) -> ExitCode:
    """The exit code for an error; the first row that it is an instance of."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
