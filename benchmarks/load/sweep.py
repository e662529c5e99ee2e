"""A sweep: closed-loop windows with ever more users, then open-loop ones at rising rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.window import Loop, Mix, Window
from organseg.errors import InvalidInputError, OrganSegError

DEFAULT_USERS = (1, 2, 4, 8, 16, 32)
DEFAULT_FRACTIONS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
"""Rates of the open loop, as parts of the best rate of the closed one."""

_FEWEST_OPEN_USERS = 16
_MOST_OPEN_USERS = 256
_OPEN_USERS_S = 4.0
"""An open loop has users for answers that take so long on the mean, seconds."""


@dataclass(frozen=True)
class Sweep:
    """What is measured."""

    mixes: tuple[Mix, ...] = tuple(Mix)
    """One after the other."""
    users: tuple[int, ...] = DEFAULT_USERS
    """Of the closed loop."""
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    """Of the best closed-loop rate; used where `rates` is empty."""
    rates: tuple[float, ...] = ()
    """Of the open loop, requests per second."""
    seconds: float = 10.0
    """Of each window."""
    warm_up: int = 2
    """Requests of each user in front."""
    workers: int = 0
    """Locust workers; 0 for none."""
    workload: WorkloadSpec = field(default_factory=WorkloadSpec)
    """Images and questions."""

    @property
    def windows(self) -> int:
        """How many windows are made, if none fails."""
        return len(self.mixes) * (len(self.users) + len(self.rates or self.fractions))


@dataclass(frozen=True)
class NotMeasured:
    """A window that could not be made."""

    plan: LoadPlan
    """What was wanted."""
    error: str
    """Why not."""


def run_sweep(
    sweep: Sweep, measure: Callable[[LoadPlan], Window]
) -> Iterator[Window | NotMeasured]:
    """The windows of the sweep, as they are made; a mix ends with its first that cannot be made."""
    base = LoadPlan(
        sweep.mixes[0],
        seconds=sweep.seconds,
        warm_up=sweep.warm_up,
        workers=sweep.workers,
        workload=sweep.workload,
    )
    for mix in sweep.mixes:
        best_per_s = 0.0
        plan = replace(base, mix=mix)
        try:
            for users in sweep.users:
                plan = replace(base, mix=mix, users=users)
                window = measure(plan)
                best_per_s = max(best_per_s, window.per_second)
                yield window
            for rate in sweep.rates or _rates(mix, best_per_s, sweep.fractions):
                plan = replace(
                    base, mix=mix, loop=Loop.OPEN, users=open_users(rate), rate_per_s=rate
                )
                yield measure(plan)
        except OrganSegError as error:
            yield NotMeasured(plan, str(error))


def open_users(rate_per_s: float) -> int:
    """Enough users for arrivals not to wait for answers, save where the server falls behind."""
    wanted = math.ceil(rate_per_s * _OPEN_USERS_S)
    return min(max(wanted, _FEWEST_OPEN_USERS), _MOST_OPEN_USERS)


def _rates(mix: Mix, best_per_s: float, fractions: Sequence[float]) -> list[float]:
    if fractions and not best_per_s:
        raise InvalidInputError(
            f"wanted rates for the open loop of {mix.value}, or a closed loop that was answered, "
            "whose best rate they are parts of: name them with --rates"
        )
    return [best_per_s * fraction for fraction in fractions]
