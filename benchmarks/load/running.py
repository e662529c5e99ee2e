"""Runs one window of load: starts the load process and watches the server meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from benchmarks.load.observation import (
    NOTHING,
    ServerView,
    kept_between,
    memory_mib,
    read_server,
    stages_between,
)
from benchmarks.load.plan import LoadPlan
from benchmarks.load.samples import Sample, figures
from benchmarks.load.target import TargetSpec
from benchmarks.load.window import Window
from benchmarks.served_cost import processor_seconds
from benchmarks.workload import REPO_ROOT
from organseg.errors import OrganSegError

__all__ = ["LoadError", "ServerView", "run_window"]

_PROCESS = "benchmarks.load.process"
_LAST_LINES = 3


class LoadError(OrganSegError):
    """A window of load could not be made."""


def run_window(
    spec: TargetSpec,
    plan: LoadPlan,
    server: ServerView = NOTHING,
    *,
    progress: Callable[[int], object] | None = None,
) -> Window:
    """One window of load on one target.

    Args:
        spec: who is asked.
        plan: the mix, the loop, users and rate, the length, and the workload.
        server: where its cost is seen.
        progress: is told now and then how many requests were done, warm-up included.

    Raises:
        LoadError: the load process could not be started or failed as a whole. Requests that fail
            are counted in the window, not raised.
        OrganSegError: the server does not tell its statistics or metrics.
    """
    with _load_process(spec, plan.numbered()) as (process, errors):
        for document in _told(process, errors):
            event = document["event"]
            if event == "progress" and progress is not None:
                progress(int(document["done"]))
            elif event == "begin":
                own_before = _cpu_s(process.pid)
                before = read_server(server)
            elif event == "end":
                own_after = _cpu_s(process.pid)
                after = read_server(server)
                memory = None if server.session is None else memory_mib(server.session)
            elif event == "samples":
                begun_at_s, ended_at_s = document["edges"]
                samples = [Sample(*sample) for sample in document["samples"]]
                break
    found = figures(samples, begun_at_s, ended_at_s)
    seconds = ended_at_s - begun_at_s
    return Window(
        target=spec.label,
        mix=plan.mix,
        loop=plan.loop,
        users=plan.users,
        rate_per_s=plan.rate_per_s,
        seconds=seconds,
        answered=found.answered,
        rejected=found.rejected,
        errors=found.errors,
        per_second=found.answered / seconds,
        latency=found.latency,
        client_cpu_s=own_after - own_before,
        server_cpu_s=(
            None if after.cpu_s is None or before.cpu_s is None else after.cpu_s - before.cpu_s
        ),
        server_memory_mib=memory,
        stages=stages_between(before.counters, after.counters),
        cache=kept_between(before.kept, after.kept),
        first_latency=found.first_latency,
        follow_up_latency=found.follow_up_latency,
    )


@contextmanager
def _load_process(
    spec: TargetSpec, plan: LoadPlan
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The process, its job given; it and its workers are gone after the block."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", _PROCESS],
            cwd=REPO_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # A session of its own, by which it and its workers are counted and ended.
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            try:
                process.stdin.write(
                    json.dumps({"target": spec.to_json(), "plan": plan.to_json()}) + "\n"
                )
                process.stdin.flush()
            except BrokenPipeError:
                # It has ended; what it printed says why.
                pass
            yield process, errors
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _told(process: subprocess.Popen[str], errors: IO[str]) -> Iterator[dict[str, Any]]:
    """What the process tells; raises `LoadError` where it fails or ends early."""
    assert process.stdout is not None
    for line in process.stdout:
        document = json.loads(line)
        if document["event"] == "failed":
            raise LoadError(document["message"])
        yield document
    errors.seek(0)
    last = " ".join(errors.read().split("\n")[-_LAST_LINES - 1 :]).strip() or "nothing"
    raise LoadError(
        f"wanted samples from the load process, it ended early and said {last!r}: install the "
        "extra `bench` of this project"
    )


def _cpu_s(session: int) -> float:
    return sum(processor_seconds(session).values())
