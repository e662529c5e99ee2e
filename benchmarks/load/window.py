"""One window of load: what was asked, what came of it, and what it cost the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from benchmarks.record import RecordError


class Mix(Enum):
    """Which images and questions the users send."""

    DISTINCT = "distinct"
    """Every request another image: nothing can be kept."""
    REPEATED = "repeated"
    """A few images, many questions about each: what was kept is used."""
    SESSIONS = "sessions"
    """Every user opens an image, asks several questions about it, and opens the next."""


class Loop(Enum):
    """What decides when the next request is sent."""

    CLOSED = "closed"
    """The answer to the user's last one: a slow server is asked less."""
    OPEN = "open"
    """A clock: requests are due at a rate, whether earlier ones were answered or not."""


@dataclass(frozen=True)
class Latency:
    """Percentiles over every single sample, milliseconds."""

    p50_ms: float
    """The median."""
    p90_ms: float
    """What 90 of 100 keep within."""
    p95_ms: float
    """What 95 of 100 keep within."""
    p99_ms: float
    """What 99 of 100 keep within."""
    mean_ms: float
    """The mean."""
    max_ms: float
    """The longest."""


@dataclass(frozen=True)
class StageLoad:
    """What one model of the server did in the window, by Triton's own statistics."""

    name: str
    """The stage, or the ensemble."""
    requests: int
    """Requests that it answered."""
    executions: int
    """Batches that it ran."""
    mean_batch: float
    """Requests in a batch, the mean; 0 where it ran none."""
    queue_ms: float
    """Waiting of a request for an instance or for company, the mean."""
    compute_ms: float
    """Input, work and output of a request, the mean."""


@dataclass(frozen=True)
class KeptLoad:
    """What one keeping stage did in the window, by the server's metrics."""

    hits: int
    """Images found kept."""
    misses: int
    """Images computed."""
    bytes: int
    """Bytes kept at the end of the window."""
    evictions: int
    """Entries dropped for want of room."""

    @property
    def hit_rate(self) -> float | None:
        """Hits of all look-ups; None where nothing was looked up."""
        looked_up = self.hits + self.misses
        return self.hits / looked_up if looked_up else None


@dataclass(frozen=True)
class Window:
    """One window of load."""

    target: str
    """Who was asked: `organ_seg`, `organ_seg_session`, or the name that a peer has."""
    mix: Mix
    """Which images and questions were sent."""
    loop: Loop
    """What decided when."""
    users: int
    """Users at once, each with a client of its own."""
    rate_per_s: float | None
    """Requests due per second, all users together; None for a closed loop."""
    seconds: float
    """Length of the window, warm-up not in it."""
    answered: int
    """Requests whose answer came within the window."""
    rejected: int
    """Requests that the server turned away as busy (queue full or timed out); no errors."""
    errors: Mapping[str, int]
    """Requests that failed otherwise, by the class of the error."""
    per_second: float
    """Answers per second."""
    latency: Latency | None
    """Of the answers: from sending, or in an open loop from when the request was due; None
    without any answer."""
    client_cpu_s: float
    """Processor seconds of the load generator's processes within the window."""
    server_cpu_s: float | None
    """Processor seconds of all processes of the server; None where it is not this machine's."""
    server_memory_mib: float | None
    """Memory of all processes of the server at the end, each shared page counted once (PSS);
    None where it is not this machine's."""
    stages: tuple[StageLoad, ...] | None = None
    """Per model; None for a peer."""
    cache: Mapping[str, KeptLoad] | None = None
    """Per keeping stage; None where nothing is kept or it does not say."""
    first_latency: Latency | None = None
    """Of the first question about an image, which opens the session: the mix `sessions` only."""
    follow_up_latency: Latency | None = None
    """Of further questions about the same image: the mix `sessions` only."""
    turn: int | None = None
    """Which of several interleaved rounds, from 0; None for a single one."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Whatever a command adds, as plain values."""

    @property
    def failed(self) -> int:
        """All errors together."""
        return sum(self.errors.values())

    @property
    def server_cpu_s_per_answer(self) -> float | None:
        """Processor seconds of the server for an answer; None where not known."""
        if self.server_cpu_s is None or not self.answered:
            return None
        return self.server_cpu_s / self.answered

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        document = asdict(self)
        document.update(mix=self.mix.value, loop=self.loop.value)
        if self.stages is not None:
            document["stages"] = [asdict(stage) for stage in self.stages]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Window:
        """The window that `to_json` wrote; raises `RecordError` for anything else."""
        try:
            given = dict(document)
            given["mix"] = Mix(given["mix"])
            given["loop"] = Loop(given["loop"])
            for name in ("latency", "first_latency", "follow_up_latency"):
                given[name] = _latency(given.get(name))
            if given.get("stages") is not None:
                given["stages"] = tuple(StageLoad(**stage) for stage in given["stages"])
            if given.get("cache") is not None:
                given["cache"] = {name: KeptLoad(**kept) for name, kept in given["cache"].items()}
            return cls(**given)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RecordError(
                "wanted a window of load as `python -m benchmarks load --json` writes it, got "
                f"another document ({type(error).__name__}): measure again with this version"
            ) from None


def _latency(document: Mapping[str, float] | None) -> Latency | None:
    return None if document is None else Latency(**document)
