"""Two deployments of one release under the same load, by turns: A B B A.

Both servers run all the while, and only one of them is asked; what changes slowly on the machine
then hits both alike, and what grows steadily cancels within four turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.load.observation import ServerView
from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.running import run_window
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Mix, Window
from benchmarks.served import serving
from benchmarks.tuning.contention import contention_between, thread_times
from benchmarks.tuning.moves import Stages, effective
from benchmarks.tuning.room import lacking_room
from benchmarks.tuning.trial import Rule, Trial
from export.redeploy import read_configs, redeploy
from export.steps import passing_folder
from organseg.contract.concurrency import threads_in_all, threads_of_a_request
from organseg.contract.deployed_config import choices_in
from organseg.contract.deployment_file import Deployment, stages_document
from organseg.errors import ContractError, OrganSegError, ServerFaultError, ServerStartError


@dataclass(frozen=True)
class TuneLoad:
    """The load of a sweep."""

    users: int = 8
    """Users at once, each of whom asks again once answered."""
    seconds: float = 6.0
    """Length of a window, at least."""
    answers: int = 20
    """Answers in a window, at least: those of a slow release are longer."""
    rounds: int = 1
    """Times A B B A for each change."""
    mix: Mix = Mix.DISTINCT
    """Which images and questions are sent."""
    workload: WorkloadSpec = field(default_factory=WorkloadSpec)
    """The images and questions."""


@dataclass
class _Side:
    """A deployment that is served."""

    choices: Stages
    release: Path
    address: str
    session: int
    ends: ExitStack


class Contest:
    """Serves deployments of a release and measures one against another; close it after use.

    Args:
        release: a whole release; it stays as it is.
        load: what the servers are asked.
        rule: a single user is only asked about what passes its first part.
        tell: is told what is done, in a few words.
    """

    def __init__(
        self,
        release: Path,
        load: TuneLoad,
        rule: Rule,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._release, self._load, self._rule, self._tell = release, load, rule, tell
        self._released = choices_in(read_configs(release))
        self._sides: list[_Side] = []
        self._seconds: dict[int, float] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Contest:
        # Beside the release, so that its files can be linked.
        folder = passing_folder(self._release.resolve().parent, f".{self._release.name}-tune-")
        self._folder = self._stack.enter_context(folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._keep()
        finally:
            self._stack.close()

    def compare(self, standing: Stages, challenger: Stages, label: str) -> Trial:
        """The change measured against what was best before.

        A change that cannot be deployed, has no room, does not start or fails to answer is a trial
        with its failure. Raises `OrganSegError` where what was best before fails.
        """
        self._keep(standing, challenger)
        one = self._serve(standing)
        lacking = self._lacking(one, challenger)
        if lacking:
            return Trial(label, failure=lacking)
        try:
            other = self._serve(challenger)
        except (ContractError, ServerStartError) as error:
            return Trial(label, failure=str(error))
        busy: list[tuple[dict[str, Any], dict[str, Any]]] = []
        alone: list[tuple[dict[str, Any], dict[str, Any]]] = []
        try:
            self._turns(one, other, label, self._load.users, busy)
            trial = _trial(label, busy)
            if trial.gains(self._rule):
                self._turns(one, other, label, 1, alone)
        except _ChallengerFailedError as error:
            return Trial(label, failure=str(error))
        more = {
            "standing": self._seen(one, [pair[0] for pair in busy + alone]),
            "challenger": self._seen(other, [pair[1] for pair in busy + alone]),
        }
        return replace(_trial(label, busy, alone), more=more)

    def _turns(
        self,
        one: _Side,
        other: _Side,
        label: str,
        users: int,
        pairs: list[tuple[dict[str, Any], dict[str, Any]]],
    ) -> None:
        if users not in self._seconds:
            # Of the same length for both sides.
            self._seconds[users] = self._length(one, users)
        for turn in range(2 * self._load.rounds):
            self._tell(f"{label}, users {users}, pair {turn + 1} of {2 * self._load.rounds}")
            if turn % 2:
                challenger = self._challenged(other, users)
                pairs.append((self._window(one, users), challenger))
            else:
                standing = self._window(one, users)
                pairs.append((standing, self._challenged(other, users)))

    def _challenged(self, side: _Side, users: int) -> dict[str, Any]:
        try:
            return self._window(side, users)
        except OrganSegError as error:
            raise _ChallengerFailedError(str(error)) from None

    def _window(self, side: _Side, users: int) -> dict[str, Any]:
        before = thread_times(side.session)
        window = self._asked(side, users, seconds=self._seconds[users])
        after = thread_times(side.session)
        running = (window.server_cpu_s or 0.0) / window.seconds
        contention = asdict(contention_between(before, after, running))
        return {**window.to_json(), "contention": contention}

    def _length(self, side: _Side, users: int) -> float:
        """How long a window must be for the answers that are wanted, seconds."""
        self._tell(f"how long a window must be for users {users}")
        rate = self._asked(side, users, requests=max(users, 3)).per_second
        return max(self._load.seconds, self._load.answers / rate)

    def _asked(
        self, side: _Side, users: int, *, seconds: float | None = None, requests: int | None = None
    ) -> Window:
        """A window of load; raises `ServerFaultError` unless every request was answered."""
        plan = LoadPlan(
            mix=self._load.mix,
            users=users,
            seconds=seconds,
            requests=requests,
            warm_up=1,
            workload=self._load.workload,
        )
        window = run_window(
            TargetSpec(TargetKind.ORGAN_SEG, side.address),
            plan,
            ServerView(side.session, side.address),
        )
        _require_answers(window)
        return window

    def _serve(self, choices: Stages) -> _Side:
        for side in self._sides:
            if side.choices == choices:
                return side
        place = self._release
        if choices:
            place = self._folder / f"release-{time.monotonic_ns()}"
            redeploy(self._release, Deployment(choices), place)
        ends = ExitStack()
        server = ends.enter_context(serving(place, None))
        assert server.session is not None
        self._sides.append(_Side(choices, place, server.address, server.session, ends))
        return self._sides[-1]

    def _keep(self, *wanted: Stages) -> None:
        """Ends the servers of all other deployments."""
        ended = [side for side in self._sides if side.choices not in wanted]
        self._sides = [side for side in self._sides if side not in ended]
        # All of them, also where one is interrupted.
        with ExitStack() as stack:
            for side in ended:
                stack.callback(side.ends.close)

    def _lacking(self, one: _Side, challenger: Stages) -> str:
        return lacking_room(
            one.session,
            effective(one.choices, self._released),
            effective(challenger, self._released),
        )

    def _seen(self, side: _Side, windows: list[dict[str, Any]]) -> Mapping[str, Any]:
        configs = read_configs(side.release)
        return {
            "stages": stages_document(side.choices),
            "threads_of_a_request": threads_of_a_request(configs),
            "threads_in_all": threads_in_all(configs),
            "windows": windows,
        }


class _ChallengerFailedError(Exception):
    """The change does not answer as it should."""


def _require_answers(window: Window) -> None:
    """Raises `ServerFaultError` unless every request of a window was answered."""
    if not window.answered or window.failed or window.rejected:
        failures = ", ".join(f"{count} × {name}" for name, count in window.errors.items())
        raise ServerFaultError(
            f"wanted every request answered, got {window.answered} answers, {window.rejected} "
            f"rejected and {failures or 'no errors'}: lower --users, or lengthen --seconds"
        )


def _trial(
    label: str,
    busy: list[tuple[dict[str, Any], dict[str, Any]]],
    alone: list[tuple[dict[str, Any], dict[str, Any]]] | None = None,
) -> Trial:
    def figures(
        pairs: list[tuple[dict[str, Any], dict[str, Any]]], read: Callable[[dict[str, Any]], float]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(read(one) for one, _ in pairs), tuple(read(other) for _, other in pairs)

    return Trial(
        label,
        *figures(busy, lambda window: float(window["per_second"])),
        *figures(alone or [], lambda window: float(window["latency"]["p50_ms"])),
    )
