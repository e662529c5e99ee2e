"""What a server has used so far, seen from outside: processors, memory, statistics, kept things."""

from __future__ import annotations

import math
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.window import KeptLoad, StageLoad
from benchmarks.served_cost import processor_seconds
from benchmarks.statistics import NO_COUNTS, Counters, StatisticsReader, times_per_request
from organseg.errors import ServerFaultError

_PROCESSES = Path("/proc")
_KIB_PER_MIB = 1024.0
_TIMEOUT_S = 10.0
_KEPT = re.compile(
    r'^organ_seg_kept_(hits|misses|bytes|evictions)(?:_total)?\{[^}]*?stage="([^"]+)"[^}]*\}'
    r"\s+(\S+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class ServerView:
    """Where the server can be looked at from outside; each part may be missing."""

    session: int | None = None
    """The session of its processes on this machine (`EmbeddedServer.process_group`)."""
    statistics_address: str | None = None
    """`HOST:PORT` of Triton's gRPC service, for its statistics; None for a peer."""
    metrics_url: str | None = None
    """Where it tells its metrics, for what is kept."""


NOTHING = ServerView()
"""A server of which nothing is seen but its answers."""


@dataclass(frozen=True)
class Kept:
    """What one keeping stage has done since it was loaded."""

    hits: int = 0
    """Look-ups that found."""
    misses: int = 0
    """Look-ups that did not."""
    bytes: int = 0
    """Bytes kept now."""
    evictions: int = 0
    """Entries dropped for want of room."""


@dataclass(frozen=True)
class Reading:
    """What a server has used up to one moment."""

    cpu_s: float | None
    """Processor seconds of its processes."""
    counters: Mapping[str, Counters] | None
    """Triton's statistics per model."""
    kept: Mapping[str, Kept] | None
    """Per keeping stage; None where nothing is kept."""


def read_server(view: ServerView) -> Reading:
    """Looks now; raises `OrganSegError` where the server does not tell its statistics."""
    cpu_s = None if view.session is None else sum(processor_seconds(view.session).values())
    counters = None
    if view.statistics_address is not None:
        with StatisticsReader(view.statistics_address) as reader:
            counters = reader.read()
    return Reading(cpu_s, counters, read_kept(view.metrics_url))


def read_kept(metrics_url: str | None) -> dict[str, Kept] | None:
    """What each keeping stage has done, by the server's metrics; None where it keeps nothing."""
    if metrics_url is None:
        return None
    try:
        with urllib.request.urlopen(metrics_url, timeout=_TIMEOUT_S) as response:
            text = response.read().decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise ServerFaultError(
            f"wanted the server's metrics, got {type(error).__name__}: name their address with "
            "--metrics-url, or leave it out"
        ) from None
    return kept_in(text)


def kept_in(metrics: str) -> dict[str, Kept] | None:
    """The same from the text of the metrics; several instances of a stage are added up."""
    found: dict[str, dict[str, int]] = {}
    for name, stage, value in _KEPT.findall(metrics):
        number = float(value)
        counted = found.setdefault(stage, dict.fromkeys(Kept.__dataclass_fields__, 0))
        counted[name] += int(number) if math.isfinite(number) else 0
    return {stage: Kept(**counted) for stage, counted in sorted(found.items())} or None


def kept_between(
    before: Mapping[str, Kept] | None, after: Mapping[str, Kept] | None
) -> dict[str, KeptLoad] | None:
    """What each keeping stage did between two readings."""
    if after is None:
        return None
    return {
        stage: KeptLoad(
            now.hits - then.hits,
            now.misses - then.misses,
            now.bytes,
            now.evictions - then.evictions,
        )
        for stage, now in after.items()
        for then in ((before or {}).get(stage, Kept()),)
    }


def stages_between(
    before: Mapping[str, Counters] | None, after: Mapping[str, Counters] | None
) -> tuple[StageLoad, ...] | None:
    """What each model did between two readings; models that answered nothing are left out."""
    if before is None or after is None:
        return None
    loads = []
    for name, now in sorted(after.items()):
        added = now.since(before.get(name, NO_COUNTS))
        if added.requests < 1:
            continue
        times = times_per_request(name, added)
        batch = added.requests / added.executions if added.executions else 0.0
        loads.append(
            StageLoad(
                name, added.requests, added.executions, batch, times.queue_ms, times.compute_ms
            )
        )
    return tuple(loads)


def memory_mib(session: int, processes: Path = _PROCESSES) -> float:
    """Memory of all processes of a session: PSS, which shares a shared page among its owners."""
    total_kib = 0
    for command in processor_seconds(session, processes):
        rollup = processes / command.split(" ", 1)[0] / "smaps_rollup"
        try:
            lines = rollup.read_text().splitlines()
        except OSError:
            # It has ended meanwhile.
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / _KIB_PER_MIB
