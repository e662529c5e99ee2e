"""The users of one load process: locust's, each with a client of its own.

Imported by the load process alone, after gevent has patched it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]
from locust import User, task
from locust.exception import StopUser

from benchmarks.load.plan import LoadPlan
from benchmarks.load.questions import NextQuestion, QuestionSource
from benchmarks.load.samples import REJECTED, Sample
from benchmarks.load.schedule import Schedule
from benchmarks.load.target import Target, TargetSpec, build_target
from organseg.errors import OrganSegError

ENLISTED, GO, SAMPLES, HALT, DRAINED = "enlisted", "go", "samples", "halt", "drained"
"""Messages between the users' process and the conductor, by locust's own connection."""

_REPORT_S = 0.2
_PAUSE_AFTER_REJECTION_S = 0.1
_PAUSE_AT_THE_END_S = 1.0


class Crew:
    """The users of this process, as locust starts them.

    Tells the conductor of each that is connected, waits for its word to go, reports samples, and
    at its word to halt lets the requests under way end.
    """

    def __init__(self, spec: TargetSpec, plan: LoadPlan, worker: int) -> None:
        self.spec = spec
        self.plan = plan
        self._worker = worker
        self._source = QuestionSource(plan.workload, plan.mix, worker)
        self._numbers = itertools.count()
        self._go = Event()
        self._begin_s = 0.0
        self._unsent: list[Sample] = []
        self._runner: Any = None
        self._reports_at_once = True

    def join(self, runner: Any, *, reports_at_once: bool) -> None:
        """Takes the conductor's messages on locust's runner."""
        self._runner = runner
        self._reports_at_once = reports_at_once
        runner.register_message(GO, self._on_go)
        runner.register_message(HALT, self._on_halt, concurrent=True)
        runner.environment.events.request.add_listener(self._on_request)
        if not reports_at_once:
            gevent.spawn(self._report_for_ever)

    def enlist(self) -> Asker:
        """One more user, connected and with its first question ready; returns at the word to go."""
        number = next(self._numbers)
        try:
            target = build_target(self.spec)
        except OrganSegError as error:
            self._runner.send_message(ENLISTED, {"error": str(error)})
            raise StopUser from None
        asker = Asker(target, self._source.stream(number), self.plan.requests_per_user)
        self._runner.send_message(ENLISTED, {"error": ""})
        self._go.wait()
        if self.plan.rate_per_s is not None:
            asker.schedule = Schedule.of_user(
                self._begin_s,
                self.plan.users,
                self.plan.rate_per_s,
                f"{self.plan.workload.seed} {self._worker} {number}",
            )
        return asker

    def _on_go(self, **_: Any) -> None:
        self._begin_s = time.perf_counter()
        self._go.set()

    def _on_request(self, context: dict[str, Any], **_: Any) -> None:
        self._unsent.append(context["sample"])
        if self._reports_at_once:
            self._report()

    def _on_halt(self, **_: Any) -> None:
        self._runner.stop()
        self._report()
        self._runner.send_message(DRAINED, {})

    def _report_for_ever(self) -> None:
        while True:
            gevent.sleep(_REPORT_S)
            self._report()

    def _report(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._runner.send_message(SAMPLES, {"samples": [list(sample) for sample in unsent]})


class Asker:
    """One user: asks its next question, and says how long to wait for the one after.

    `share` is how often it asks; for as long as it is let, if None.
    """

    def __init__(
        self, target: Target, stream: Iterator[NextQuestion], share: int | None = None
    ) -> None:
        self.schedule: Schedule | None = None
        self._left = share
        self._target = target
        self._stream = stream
        # Made before any clock starts, each time.
        self._next = next(stream)
        self._was_rejected = False

    @property
    def is_done(self) -> bool:
        """Whether it has had its share."""
        return self._left == 0

    @property
    def is_early(self) -> bool:
        """Whether its next request is not due yet."""
        return self.schedule is not None and self.schedule.wait_s(time.perf_counter()) > 0

    def ask(self) -> tuple[Sample, Exception | None]:
        """Asks; what came of it."""
        if self._left is not None:
            self._left -= 1
        started_s = time.perf_counter()
        begun_s = started_s if self.schedule is None else self.schedule.take()
        failure: Exception | None = None
        try:
            self._target.ask(self._next.question)
        except Exception as error:
            # Of any kind: a request that is left out of the count looks like none.
            failure = error
        latency_s = time.perf_counter() - begun_s
        name = type(failure).__name__ if failure else ""
        sample = Sample(time.time(), latency_s, self._next.kind, name)
        self._was_rejected = name == REJECTED
        self._next = next(self._stream)
        return sample, failure

    def wait_s(self) -> float:
        """How long to wait before the next request."""
        if self.schedule is not None:
            return self.schedule.wait_s(time.perf_counter())
        if self.is_done:
            return _PAUSE_AT_THE_END_S
        # Who is turned away comes back at once otherwise, and the load is of its refusals.
        return _PAUSE_AFTER_REJECTION_S if self._was_rejected else 0.0

    def close(self) -> None:
        """Ends its connection."""
        self._target.close()


class LoadUser(User):
    """A user of the process's crew, as locust wants it: a class."""

    crew: ClassVar[Crew]
    """Set before the first is started."""

    def on_start(self) -> None:
        """Connects, and waits for the word to go."""
        self.asker = self.crew.enlist()

    def on_stop(self) -> None:
        """Ends the connection."""
        if hasattr(self, "asker"):
            self.asker.close()

    def wait_time(self) -> float:
        """Seconds until the next request."""
        return self.asker.wait_s()

    @task
    def ask(self) -> None:
        """One request, and one event of locust's for it."""
        # Locust runs a task before it waits the first time.
        if self.asker.is_early or self.asker.is_done:
            return
        sample, failure = self.asker.ask()
        self.environment.events.request.fire(
            request_type=self.crew.spec.kind.value,
            name=self.crew.plan.mix.value,
            response_time=sample.latency_s * 1e3,
            response_length=0,
            exception=failure,
            context={"sample": sample},
        )
