"""Whether servers answer questions, as found by asking one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Health", "HealthState", "ServerHealth"]


class HealthState(Enum):
    """What a server did when it was asked a small question."""

    HEALTHY = "healthy"
    """It answered."""
    NOT_READY = "not_ready"
    """It is there and turns requests away for now: loading, shutting down, or its queue is full."""
    FAULTY = "faulty"
    """It is there and fails on the question; a dead stage is the usual cause."""
    OTHER_CONTRACT = "other_contract"
    """It is there and speaks another version of the contract than this client."""
    REFUSED = "refused"
    """It is there and does not take this client's credentials."""
    SILENT = "silent"
    """No answer within the deadline."""
    UNREACHABLE = "unreachable"
    """No connection."""


@dataclass(frozen=True)
class ServerHealth:
    """What one server did."""

    url: str
    """Its address."""
    state: HealthState
    """What it did."""
    seconds: float
    """How long that took."""
    words: str
    """One plain sentence: that it answered, or what is wrong and what to do."""


@dataclass(frozen=True)
class Health:
    """What every server of a client did."""

    servers: tuple[ServerHealth, ...]
    """One entry an address, in the order they were given."""

    @property
    def is_healthy(self) -> bool:
        """Whether every server answered."""
        return all(server.state is HealthState.HEALTHY for server in self.servers)

    def to_dict(self) -> dict[str, Any]:
        """The same in plain values for JSON."""
        return {
            "is_healthy": self.is_healthy,
            "servers": [
                {
                    "url": server.url,
                    "state": server.state.value,
                    "seconds": round(server.seconds, 4),
                    "words": server.words,
                }
                for server in self.servers
            ],
        }
