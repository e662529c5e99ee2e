"""Conducts one window in the load process: lets the users go, marks its edges, drains, reports.

The edges are told as they happen, so that whoever started this process can look at the server at
these moments. Users are busy before the first edge and after the second: what ends in between
counts, and a window measures a steady state. Where users share the requests of a window
(`LoadPlan.requests_per_user`), they are idle on both sides, and no edge cuts one. Imported by the
load process alone.
"""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from gevent.event import Event  # type: ignore[import-untyped]
from locust.env import Environment

from benchmarks.load.crew import DRAINED, ENLISTED, GO, HALT, SAMPLES, Crew, LoadUser
from benchmarks.load.plan import LoadPlan
from benchmarks.load.target import TargetSpec
from benchmarks.load.window import Loop

Emit = Callable[[dict[str, Any]], None]

ENROLLED, JOB, PREPARED = "enrolled", "job", "prepared"
"""Messages by which a worker gets its part of the window."""

_HOST = "127.0.0.1"
_PATIENCE_S = 120.0
_LOOK_S = 0.25
_OPEN_LOOP_WARM_UP_USERS = 8


class LoadFailure(Exception):
    """The window cannot be made; the message is for the user."""


class Tally:
    """What the users have reported so far."""

    def __init__(self) -> None:
        self.samples: list[list[Any]] = []
        self.connected = 0
        self.drained = 0
        self.enrolled: list[str] = []
        self.prepared = 0
        self.failure = ""
        self._changed = Event()

    def join(self, runner: Any) -> None:
        """Takes the users' messages on locust's runner."""
        runner.register_message(ENLISTED, self._on_enlisted)
        runner.register_message(SAMPLES, self._on_samples)
        runner.register_message(DRAINED, self._on_drained)
        runner.register_message(ENROLLED, self._on_enrolled)
        runner.register_message(PREPARED, self._on_prepared)

    def wait(
        self, is_reached: Callable[[], bool], patience_s: float, what: str, tell: Callable[[], None]
    ) -> None:
        """Returns once it is reached; raises `LoadFailure` where a user fails or time is up."""
        deadline_s = time.monotonic() + patience_s
        while not is_reached():
            if self.failure:
                raise LoadFailure(self.failure)
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise LoadFailure(
                    f"wanted {what} within {patience_s:g} s, they were not: look whether the "
                    "server answers and whether the machine is overloaded"
                )
            self._changed.clear()
            self._changed.wait(min(left_s, _LOOK_S))
            tell()

    def has_more_than(self, count: int) -> bool:
        """Whether more requests have ended than so many."""
        return len(self.samples) > count

    def _on_enlisted(self, msg: Any, **_: Any) -> None:
        self.failure = self.failure or msg.data["error"]
        self.connected += 1
        self._changed.set()

    def _on_samples(self, msg: Any, **_: Any) -> None:
        self.samples += msg.data["samples"]
        self._changed.set()

    def _on_drained(self, **_: Any) -> None:
        self.drained += 1
        self._changed.set()

    def _on_enrolled(self, msg: Any, **_: Any) -> None:
        self.enrolled.append(msg.node_id)
        self._changed.set()

    def _on_prepared(self, msg: Any, **_: Any) -> None:
        self.failure = self.failure or msg.data["error"]
        self.prepared += 1
        self._changed.set()


def conduct(spec: TargetSpec, plan: LoadPlan, emit: Emit) -> None:
    """One window; tells its progress, its two edges and the samples.

    Raises `LoadFailure` or an `OrganSegError` where it cannot be made.
    """
    tally = Tally()
    told = [0]

    def tell() -> None:
        if len(tally.samples) > told[0]:
            told[0] = len(tally.samples)
            emit({"event": "progress", "done": told[0]})

    with ExitStack() as stack:
        if plan.workers:
            runner = _master(spec, plan, tally, tell, stack)
        else:
            crew = LoadUser.crew = Crew(spec, plan, worker=0)
            runner = Environment(
                user_classes=[LoadUser], stop_timeout=_drain_s(spec)
            ).create_local_runner()
            crew.join(runner, reports_at_once=True)
            tally.join(runner)
        # All at once: none asks before all are connected.
        runner.start(plan.users, spawn_rate=plan.users)
        tally.wait(lambda: tally.connected >= plan.users, _PATIENCE_S, "all users connected", tell)
        runner.send_message(GO, {})
        patience_s = spec.deadline_s + _PATIENCE_S
        warm_up = warm_up_requests(plan)
        tally.wait(lambda: len(tally.samples) >= warm_up, patience_s, "warm-up answers", tell)
        begun_s = time.time()
        emit({"event": "begin"})
        if plan.seconds is not None:
            until_s = time.monotonic() + plan.seconds
            tally.wait(
                lambda: time.monotonic() >= until_s, plan.seconds + _PATIENCE_S, "the end", tell
            )
        else:
            _wait_for_requests(tally, int(plan.requests or 0), begun_s, patience_s, tell)
        ended_s = time.time()
        emit({"event": "end"})
        runner.send_message(HALT, {})
        tally.wait(lambda: tally.drained >= max(plan.workers, 1), patience_s, "users stopped", tell)
        emit({"event": "samples", "edges": [begun_s, ended_s], "samples": tally.samples})
        runner.quit()


def _wait_for_requests(
    tally: Tally, wanted: int, begun_s: float, patience_s: float, tell: Callable[[], None]
) -> None:
    """Returns once so many have ended since; patience is for each further one."""
    seen = ended = 0
    while ended < wanted:
        # Workers report a little later: some that are new here ended before.
        ended += sum(1 for sample in tally.samples[seen:] if sample[0] > begun_s)
        seen = len(tally.samples)
        if ended < wanted:
            tally.wait(functools.partial(tally.has_more_than, seen), patience_s, "answers", tell)


def warm_up_requests(plan: LoadPlan) -> int:
    """How many requests are done, all users together, before the window begins."""
    if plan.loop is Loop.OPEN:
        return plan.warm_up * min(plan.users, _OPEN_LOOP_WARM_UP_USERS)
    return plan.warm_up * plan.users


def work(master: str) -> None:
    """One worker's part of a window, from a master at `HOST:PORT`; returns when it quits."""
    host, _, port = master.rpartition(":")
    environment = Environment(user_classes=[LoadUser])
    runner = environment.create_worker_runner(host, int(port))

    def on_job(msg: Any, **_: Any) -> None:
        try:
            spec, plan = read_job(msg.data)
            crew = LoadUser.crew = Crew(spec, plan, worker=runner.worker_index + 1)
        except Exception as error:
            runner.send_message(PREPARED, {"error": f"{error}"})
            raise
        crew.join(runner, reports_at_once=False)
        runner.send_message(PREPARED, {"error": ""})

    runner.register_message(JOB, on_job)
    runner.send_message(ENROLLED, {})
    runner.greenlet.join()


def read_job(job: dict[str, Any]) -> tuple[TargetSpec, LoadPlan]:
    """The target and the plan of a job."""
    return TargetSpec.from_json(job["target"]), LoadPlan.from_json(job["plan"])


def _drain_s(spec: TargetSpec) -> float:
    # What is under way ends by its own deadline.
    return spec.deadline_s


def _master(
    spec: TargetSpec, plan: LoadPlan, tally: Tally, tell: Callable[[], None], stack: ExitStack
) -> Any:
    environment = Environment(user_classes=[LoadUser], stop_timeout=_drain_s(spec))
    port = _free_port()
    runner = environment.create_master_runner(_HOST, port)
    tally.join(runner)
    for _ in range(plan.workers):
        command = [sys.executable, "-m", "benchmarks.load.process", f"{_HOST}:{port}"]
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        stack.callback(_end, worker)
    tally.wait(lambda: len(tally.enrolled) >= plan.workers, _PATIENCE_S, "all workers there", tell)
    job = json.loads(json.dumps({"target": spec.to_json(), "plan": plan.to_json()}))
    for name in tally.enrolled:
        runner.send_message(JOB, job, name)
    tally.wait(lambda: tally.prepared >= plan.workers, _PATIENCE_S, "all workers ready", tell)
    return runner


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        return int(free.getsockname()[1])


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    worker.wait()
