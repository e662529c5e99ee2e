"""The same requests without a server, stage by stage, beside what Triton made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.stages import Progress, StageTimings
from benchmarks.workload import Question
from organseg.contract import ENSEMBLE_NAME, models_of
from organseg.errors import OrganSegError, ServerFaultError

if TYPE_CHECKING:
    from benchmarks.peers.graph_flow import PathTimes


@dataclass(frozen=True)
class Comparison:
    """What serving adds to the stages' work, milliseconds."""

    in_process: PathTimes
    """Each stage in this process, one request after another."""
    requests: int
    """Requests that were answered in process."""
    timings: StageTimings
    """The same through Triton."""

    @property
    def hops(self) -> int:
        """Stages on the in-process critical path."""
        return len(self.in_process.path)

    @property
    def overhead_per_hop_ms(self) -> float:
        """What a request takes longer at the client than the critical path, a stage."""
        extra_ms = self.timings.latencies.mean - self.in_process.critical_path_ms
        return extra_ms / self.hops


def time_in_process(
    release: Path, warm_up: Sequence[Question], questions: Sequence[Question], progress: Progress
) -> tuple[PathTimes, int]:
    """The stages' times by the release's own graphs and engines, and how many were answered.

    Questions that fail are left out, as they are through Triton. The server should have stopped:
    both would share the cores. Raises `ServerFaultError` where every question fails.
    """
    # Here, since torch takes seconds to import, and most measurements do without.
    from benchmarks.peers.graph_flow import GraphFlow, Times, path_times

    flow = GraphFlow(release, threads=None)
    for question in warm_up:
        flow.timed(question.image, question.text.encode())
    found: list[Times] = []
    cpu_s = 0.0
    for question in progress(questions):
        started = time.process_time()
        try:
            found.append(flow.timed(question.image, question.text.encode())[1])
        except OrganSegError:
            continue
        cpu_s += time.process_time() - started
    if not found:
        raise ServerFaultError(
            f"wanted answers in process, all {len(questions)} requests failed: see whether the "
            "images are ones that the release takes"
        )
    return path_times(found, models_of(flow.preset), cpu_s / len(found)), len(found)


def comparison_table(comparison: Comparison) -> str:
    """Markdown: every stage in process and through Triton, and the overhead per hop."""
    path, latencies = comparison.in_process, comparison.timings.latencies
    return "\n".join(
        [
            f"In process: the release's own graphs and engines without a server, mean of "
            f"{comparison.requests}, after the server was stopped; milliseconds. There a stage has "
            "all cores to itself; through Triton those of both branches share them.",
            "",
            "| stage | in process | through Triton | more | waits in its queue | critical path |",
            "|---|--:|--:|--:|--:|:-:|",
            *_rows(comparison),
            "",
            f"Overhead per hop = (mean end to end − in-process critical path) / hops = "
            f"({latencies.mean:.2f} − {path.critical_path_ms:.2f}) / {comparison.hops} = "
            f"**{comparison.overhead_per_hop_ms:.2f} ms**; processor time of a request in process "
            f"{1000 * path.cpu_s_per_request:.1f} ms.",
        ]
    )


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """The same as plain values for JSON; times in milliseconds, processor time in seconds."""
    path = comparison.in_process
    return {
        "requests": comparison.requests,
        "stages_ms": dict(path.stages_ms),
        "path": list(path.path),
        "critical_path_ms": path.critical_path_ms,
        "hops": comparison.hops,
        "cpu_s_per_request": path.cpu_s_per_request,
        "overhead_per_hop_ms": comparison.overhead_per_hop_ms,
    }


def _rows(comparison: Comparison) -> Iterator[str]:
    path = comparison.in_process
    for times in comparison.timings.stages:
        alone = path.stages_ms.get(times.name)
        cells = (
            "–" if alone is None else f"{alone:.2f}",
            f"{times.compute_ms:.2f}",
            "–" if alone is None else f"{times.compute_ms - alone:+.2f}",
            f"{times.queue_ms:.2f}",
            "●" if times.name in path.path else "",
        )
        yield f"| `{times.name}` | {' | '.join(cells)} |"
    yield (
        f"| `{ENSEMBLE_NAME}`, end to end at the client | {path.critical_path_ms:.2f} "
        f"| {comparison.timings.latencies.mean:.2f} "
        f"| {comparison.timings.latencies.mean - path.critical_path_ms:+.2f} "
        f"| {comparison.timings.path.queue_ms:.2f} | |"
    )
