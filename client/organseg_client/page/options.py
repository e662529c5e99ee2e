"""Where the page listens, which servers it asks, and how much it may hold."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from organseg.errors import InvalidInputError
from organseg.imaging.limits import MAX_SERIES_FILES, MAX_VOLUME_VOXELS
from organseg_client.core.addresses import DEFAULT_URL
from organseg_client.deadline import DEFAULT_DEADLINE_S, EXPLANATION_DEADLINE_S
from organseg_client.options import ConnectionOptions

__all__ = ["DEFAULT_PORT", "PageLimits", "PageOptions", "is_loopback", "new_token"]

DEFAULT_PORT = 8090
"""Where the page listens, beside Triton's 8000 to 8002."""


@dataclass(frozen=True)
class PageLimits:
    """What the page holds at most; the least recently used scan is closed to make room."""

    scans: int = 8
    """Opened scans at once."""
    memory_bytes: int = 3 * 2**30
    """Voxels and masks of all opened scans together."""
    upload_bytes: int = 4 * MAX_VOLUME_VOXELS
    """One upload: the largest scan there is, in 32 bits a voxel."""
    upload_files: int = MAX_SERIES_FILES
    """Files of one upload: the most that a series may have."""
    answers: int = 200
    """Answers kept for one scan; the oldest go first."""
    idle_s: float = 3600.0
    """Seconds without any request after which a scan is closed."""

    def __post_init__(self) -> None:
        smallest = min(
            self.scans, self.memory_bytes, self.upload_bytes, self.upload_files, self.answers
        )
        if smallest < 1 or not self.idle_s > 0:
            raise InvalidInputError("wanted limits of the page above 0, got one that is not")


@dataclass(frozen=True)
class PageOptions:
    """One page: its address, its servers, its limits."""

    servers: tuple[str, ...] = (DEFAULT_URL,)
    """gRPC addresses of the Organ-Seg servers that answer."""
    host: str = "127.0.0.1"
    """The address to listen at; any other than loopback wants a token."""
    port: int = DEFAULT_PORT
    """The port to listen at; 0 for any that is free."""
    token: str | None = field(default=None, repr=False)
    """What a browser must bring, once; None on loopback only."""
    deadline_s: float = DEFAULT_DEADLINE_S
    """Seconds that one question about one slice may take."""
    explanation_deadline_s: float = EXPLANATION_DEADLINE_S
    """Seconds that an explanation may take, which is read while it is written."""
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)
    """Everything else about the way to the servers."""
    limits: PageLimits = field(default_factory=PageLimits)
    """How much the page may hold."""
    first_scan: Path | None = None
    """A file or folder to open at start: the command line's."""

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise InvalidInputError(
                f"wanted a token for a page at {self.host}, which others can reach, got none; "
                "give one, or listen at 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A random token, 32 characters that are safe in an address."""
    return secrets.token_urlsafe(24)
