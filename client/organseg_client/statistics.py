"""What the models of each server have done, as Triton counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from organseg.errors import OrganSegError
from organseg_client.transport import ModelStatistics

__all__ = ["ServerStatistics", "Statistics"]


@dataclass(frozen=True)
class ServerStatistics:
    """What one server counted."""

    url: str
    """Its address."""
    models: tuple[ModelStatistics, ...]
    """One entry a model, by name; empty where there is an error."""
    error: OrganSegError | None = None
    """Why it did not say; None where it did."""


@dataclass(frozen=True)
class Statistics:
    """What every server of a client counted."""

    servers: tuple[ServerStatistics, ...]
    """One entry an address, in the order they were given."""

    def to_dict(self) -> dict[str, Any]:
        """The same in plain values for JSON."""
        return {
            "servers": [
                {
                    "url": server.url,
                    "error": None if server.error is None else str(server.error),
                    "models": [_plain(model) for model in server.models],
                }
                for server in self.servers
            ]
        }


def _plain(model: ModelStatistics) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "successes": model.successes,
        "failures": model.failures,
        "executions": model.executions,
        "inferences": model.inferences,
        "mean_batch": round(model.mean_batch, 3),
        "queue_ms": round(model.queue_ms, 3),
        "compute_ms": round(model.compute_ms, 3),
        "compute_input_ms": round(model.compute_input_ms, 3),
        "compute_infer_ms": round(model.compute_infer_ms, 3),
        "compute_output_ms": round(model.compute_output_ms, 3),
    }
