"""What a served request costs the processor, beside what the image encoder's engine costs alone.

The embedded server runs every stage in a process of its own, so Linux tells what each has used.
Requests and calls of the engine in this process take turns: what else the machine does meanwhile
hits both alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.workload import Question
from organseg.errors import ServerFaultError
from organseg_client import OrganSegClient

DEADLINE_S = 300.0
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class ServedCost:
    """Processor seconds of a request and of the engine alone."""

    stage: str
    """The stage whose engine it is."""
    requests: int
    """Requests answered while it was measured, one user, one at a time."""
    engine_cpu_s: float
    """Processor seconds of one call of the stage's engine alone, in another process."""
    stage_cpu_s: float
    """Processor seconds of the stage's own process, per request."""
    server_cpu_s: float
    """Processor seconds of all processes of the server, per request."""
    median_s: float
    """The median seconds of a request, at the client."""

    @property
    def overhead(self) -> float:
        """What serving adds to the engine in its own process, as a share of the engine alone."""
        return self.stage_cpu_s / self.engine_cpu_s - 1.0


def served_cost(
    address: str,
    session: int,
    stage: str,
    questions: Sequence[Question],
    alone: Callable[[], object],
) -> ServedCost:
    """Asks every question but the first, which warms up, and calls the engine after each.

    Args:
        address: `HOST:PORT` of an embedded server that nobody else asks.
        session: the session of its processes (`EmbeddedServer.process_group`).
        stage: the stage whose process is looked at.
        questions: two or more.
        alone: one call of the engine on one image.

    Raises:
        OrganSegError: the server fails, or has no process for the stage.
    """
    own, everything, engine, seconds = 0.0, 0.0, 0.0, []
    with OrganSegClient(address, deadline_s=DEADLINE_S) as client:
        client.segment(questions[0].image, questions[0].text)
        alone()
        for question in questions[1:]:
            before = processor_seconds(session)
            started = time.perf_counter()
            client.segment(question.image, question.text)
            seconds.append(time.perf_counter() - started)
            after = processor_seconds(session)
            own += _of_stage(after, stage) - _of_stage(before, stage)
            everything += sum(after.values()) - sum(before.values())
            started = time.process_time()
            alone()
            engine += time.process_time() - started
    count = len(seconds)
    return ServedCost(
        stage, count, engine / count, own / count, everything / count, float(np.median(seconds))
    )


def processor_seconds(session: int, processes: Path = _PROCESSES) -> dict[str, float]:
    """User and system seconds of each process of a session, by its command line."""
    tick = os.sysconf("SC_CLK_TCK")
    found: dict[str, float] = {}
    for entry in processes.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command's name stands in brackets and may itself hold blanks and brackets.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == session:
            found[f"{entry.name} {command}"] = (int(fields[11]) + int(fields[12])) / tick
    return found


def _of_stage(seconds: dict[str, float], stage: str) -> float:
    own = [
        value for command, value in seconds.items() if "stub" in command and f"/{stage}/" in command
    ]
    if not own:
        raise ServerFaultError(
            f"wanted a process of the server that runs {stage}, found none: serve the release "
            "with the embedded server"
        )
    return sum(own)
