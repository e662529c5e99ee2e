"""How the threads of a server share the cores, by Linux's own count: who runs, who waits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.served_cost import processor_seconds

_PROCESSES = Path("/proc")
_NANOSECONDS = 1e9


@dataclass(frozen=True)
class ThreadTimes:
    """What the threads of a session have done since they began."""

    running_s: float
    """Seconds on a core, all threads together."""
    waiting_s: float
    """Seconds ready to run, without a core."""
    given_up: int
    """Times that a thread left its core to wait for something."""
    taken_away: int
    """Times that a core was taken from a thread that had more to do."""


@dataclass(frozen=True)
class Contention:
    """How the threads of a server shared the cores for a while."""

    running: float
    """Threads on a core, the mean."""
    runnable: float
    """Threads on a core or ready for one, the mean: above the cores, they are oversubscribed."""
    given_up_per_cpu_s: float
    """How often threads left a core by themselves, for each second on a core."""
    taken_away_per_cpu_s: float
    """How often a core was taken from a thread, for each second on a core."""


def thread_times(session: int, processes: Path = _PROCESSES) -> ThreadTimes:
    """What the threads of all processes of a session have done so far; those that have ended are
    not among them.
    """
    running, waiting, given_up, taken_away = 0, 0, 0, 0
    for command in processor_seconds(session, processes):
        for thread in _threads(processes / command.split(" ", 1)[0] / "task"):
            try:
                on_core, ready = (thread / "schedstat").read_text().split()[:2]
                status = (thread / "status").read_text().splitlines()
            except (OSError, ValueError):
                # It has ended meanwhile.
                continue
            running, waiting = running + int(on_core), waiting + int(ready)
            for line in status:
                name, _, value = line.partition(":")
                if name == "voluntary_ctxt_switches":
                    given_up += int(value)
                elif name == "nonvoluntary_ctxt_switches":
                    taken_away += int(value)
    return ThreadTimes(running / _NANOSECONDS, waiting / _NANOSECONDS, given_up, taken_away)


def contention_between(before: ThreadTimes, after: ThreadTimes, running: float) -> Contention:
    """How cores were shared between two readings.

    The readings may lie around a window of load whose mean of threads on a core is `running`: what
    is before and after it is little, and counts by its shares alone.
    """
    on_core_s = after.running_s - before.running_s
    scale = 1 / on_core_s if on_core_s > 0 else 0.0
    return Contention(
        running=running,
        runnable=running * (1 + (after.waiting_s - before.waiting_s) * scale),
        given_up_per_cpu_s=(after.given_up - before.given_up) * scale,
        taken_away_per_cpu_s=(after.taken_away - before.taken_away) * scale,
    )


def _threads(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
