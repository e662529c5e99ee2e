"""What a peer is started with: its knobs, and the small grid that the tuning tries."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any


class Peer(Enum):
    """What is compared with Organ-Seg."""

    FASTAPI_TORCH = "fastapi_torch"
    """FastAPI and torch's eager mode, the way the paper's authors would serve it."""
    LITSERVE_TORCH = "litserve_torch"
    """LitServe with dynamic batching, on the same torch modules."""
    FASTAPI_GRAPHS = "fastapi_graphs"
    """FastAPI with the release's own graphs in their CPU engines."""
    IN_PROCESS = "in_process"
    """The release's own graphs in a Python loop, without a server: the ceiling."""


SERVERS = (Peer.FASTAPI_TORCH, Peer.LITSERVE_TORCH, Peer.FASTAPI_GRAPHS)
"""The peers that are servers."""


@dataclass(frozen=True)
class PeerSettings:
    """The knobs of a peer; one that a peer does not have is left at its default."""

    threads: int | None = None
    """Threads of each engine and of torch in one worker; None for what the release's table says."""
    workers: int = 1
    """Processes, each with the whole model."""
    at_once: int = 1
    """Requests that one worker computes side by side, in threads; 1 is a lock around the model."""
    batch: int = 1
    """Most requests that one worker joins (LitServe)."""
    batch_timeout_s: float = 0.0
    """How long it waits for a batch to fill (LitServe)."""

    def __str__(self) -> str:
        """The knobs in words, for tables."""
        threads = "the release's threads" if self.threads is None else f"{self.threads} threads"
        parts = [threads, f"{self.workers} workers", f"{self.at_once} at once"]
        if self.batch > 1:
            parts.append(f"batches of {self.batch} in {self.batch_timeout_s * 1000:g} ms")
        return ", ".join(parts)


def default_settings(peer: Peer, cores: int) -> PeerSettings:
    """The settings of a peer that was not tuned: the first of its grid."""
    return grid(peer, cores)[0]


def grid(peer: Peer, cores: int) -> tuple[PeerSettings, ...]:
    """What the tuning tries, for a machine with this many cores; the likeliest first.

    Each way to fill the cores: one request on all of them, as many requests as cores in threads
    of one process, and as many processes. LitServe: small and large batches, short and long waits.
    """
    whole = PeerSettings(threads=cores)
    if peer is Peer.LITSERVE_TORCH:
        found = [
            replace(whole, batch=4, batch_timeout_s=0.01),
            replace(whole, batch=8, batch_timeout_s=0.01),
            replace(whole, batch=8, batch_timeout_s=0.05),
            whole,
            PeerSettings(threads=1, workers=cores, batch=4, batch_timeout_s=0.01),
            PeerSettings(threads=1, workers=cores),
        ]
    elif peer is Peer.IN_PROCESS:
        found = [PeerSettings(threads=1, at_once=cores), whole, PeerSettings()]
    else:
        found = [
            whole,
            replace(whole, at_once=cores),
            PeerSettings(threads=1, at_once=cores),
            PeerSettings(threads=1, workers=cores),
        ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class PeerOrder:
    """All that the process of a peer needs to know."""

    peer: Peer
    """Which one."""
    release: Path
    """The exported release."""
    checkpoint: Path | None
    """The torch weights of the same release; None for random ones of seed 0."""
    settings: PeerSettings
    """Its knobs."""
    port: int = 0
    """Where a server listens on this machine."""

    VARIABLE = "ORGANSEG_PEER"
    """The environment variable that hands it to the processes of a peer."""

    def to_environment(self) -> dict[str, str]:
        """The variables that a peer's processes are started with.

        Threads that wait do so without spinning: they would take the cores from whoever works.
        """
        plain: Mapping[str, Any] = {
            "peer": self.peer.value,
            "release": str(self.release.resolve()),
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint.resolve()),
            "settings": asdict(self.settings),
            "port": self.port,
        }
        threads = self.settings.threads
        return {
            self.VARIABLE: json.dumps(plain),
            "OMP_WAIT_POLICY": "passive",
            "KMP_BLOCKTIME": "0",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            **({} if threads is None else {"OMP_NUM_THREADS": str(threads)}),
        }

    @classmethod
    def from_environment(cls) -> PeerOrder:
        """The order that this process was started with; raises `KeyError` without one."""
        plain = json.loads(os.environ[cls.VARIABLE])
        checkpoint = plain["checkpoint"]
        return cls(
            peer=Peer(plain["peer"]),
            release=Path(plain["release"]),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            settings=PeerSettings(**plain["settings"]),
            port=plain["port"],
        )
