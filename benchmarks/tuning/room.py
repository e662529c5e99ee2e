"""Whether a change has room in memory, before it is started: engines times instances."""

from __future__ import annotations

from pathlib import Path

from benchmarks.load.observation import memory_mib
from benchmarks.served_cost import processor_seconds
from benchmarks.tuning.moves import Stages

_PROCESSES = Path("/proc")
_MEMORY = Path("/proc/meminfo")
_KIB_PER_MIB = 1024.0
_FREE_SHARE = 0.1
"""Of what is available, left to others."""


def lacking_room(
    session: int, standing: Stages, challenger: Stages, *, available_mib: float | None = None
) -> str:
    """Why a second server with other instances has no room beside the one that runs; empty where
    it has.

    Args:
        session: the processes of the server that runs.
        standing: how all of its stages are deployed.
        challenger: how those of the second would be.
        available_mib: what may be taken; what the system says, if None.
    """
    wanted = memory_mib(session)
    for name, choice in challenger.items():
        before = standing[name].instances or 1
        more = (choice.instances or 1) - before
        if more > 0:
            wanted += more * stage_memory_mib(session, name) / before
    available = _available_mib() if available_mib is None else available_mib
    usable = available * (1 - _FREE_SHARE)
    if wanted <= usable:
        return ""
    return f"wanted {wanted:.0f} MiB of memory, {usable:.0f} MiB may be taken"


def stage_memory_mib(session: int, stage: str, processes: Path = _PROCESSES) -> float:
    """Memory of all instances of one stage, all of it, shared or not; 0 where it has no process of
    its own.
    """
    total = 0.0
    for command in processor_seconds(session, processes):
        if "stub" not in command or f"/{stage}/" not in command:
            continue
        try:
            lines = (processes / command.split(" ", 1)[0] / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total / _KIB_PER_MIB


def _available_mib() -> float:
    lines = _MEMORY.read_text(encoding="utf-8").splitlines()
    found = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(found.split()[1]) / _KIB_PER_MIB
