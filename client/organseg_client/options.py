"""How a client reaches its servers: small values, each with a default that is right for most."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from organseg.errors import InvalidInputError

__all__ = ["ApiKey", "ConnectionOptions", "RetryPolicy", "SharedMemory", "Tls"]


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried, and how long it pauses in between.

    Whether an error is worth another attempt is decided by its class, not here: a busy server,
    one that cannot be reached and one with a dead stage are; bad input, refused credentials,
    another contract, a deadline that has passed and any other fault are not. The call's deadline
    holds over all attempts and pauses together.
    """

    attempts: int = 4
    """How often a call is sent at most, the first time included; 1 for no retries."""
    first_wait_s: float = 0.1
    """Longest first pause, seconds; doubles with each further one. The pause itself is drawn evenly
    from 0 to this (full jitter), so that many clients do not come back at the same moment."""
    longest_wait_s: float = 2.0
    """Where the doubling stops, seconds."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidInputError(
                f"wanted at least 1 attempt, got {self.attempts}; give 1 for no retries"
            )
        for name, seconds in (
            ("first_wait_s", self.first_wait_s),
            ("longest_wait_s", self.longest_wait_s),
        ):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise InvalidInputError(
                    f"wanted {name} in seconds, finite and not below 0, got {seconds:g}; "
                    "give for example 0.1"
                )


@dataclass(frozen=True)
class Tls:
    """Encryption of the connection; each file is PEM, each may be left out."""

    root_certificates: Path | None = None
    """The authorities that the server's certificate is checked against; the system's if None."""
    private_key: Path | None = None
    """This client's own key, where the server asks for one."""
    certificate_chain: Path | None = None
    """The certificates that belong to the key."""


@dataclass(frozen=True)
class ApiKey:
    """A key that goes with every call as a header; never shown, logged or put in an error."""

    key: str = field(repr=False)
    """The header's value."""
    header: str = "authorization"
    """The header's name. Triton's own restricted protocols take `triton-grpc-protocol-NAME`."""


class SharedMemory(Enum):
    """Whether images and masks travel through shared memory instead of the connection."""

    AUTO = "auto"
    """With a server on this machine that allows it; probed once, else over the connection."""
    OFF = "off"
    """Never."""
    REQUIRED = "required"
    """Always; a server that does not allow it is an error."""


@dataclass(frozen=True)
class ConnectionOptions:
    """Everything about the way to a server but its address."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """What happens to calls that fail for now."""
    tls: Tls | None = None
    """Encryption; None for none."""
    api_key: ApiKey | None = None
    """The key to send; None for none."""
    shared_memory: SharedMemory = SharedMemory.AUTO
    """Whether large tensors travel through shared memory."""
