"""What a window of load is to be: plain values that travel to the load process."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.load.window import Loop, Mix
from organseg.errors import InvalidInputError

_RANDOM_BITS = 44


@dataclass(frozen=True)
class WorkloadSpec:
    """The images and questions, as they were named; the load process reads them."""

    images: tuple[str, ...] = ()
    """Image files; none for the demo's sample slices."""
    texts: tuple[str, ...] = ()
    """Questions; none for the held-out ones in random order."""
    seed: int = 0
    """Of the questions' order and of the open loop's arrivals."""
    serial: int | None = None
    """Number of the first distinct image; None for a random one, so that no image of one window
    comes again in another on the same server."""
    repeated_images: int = 4
    """How many images the mix `repeated` has."""
    questions_per_session: int = 4
    """How many questions a user asks of an image in the mix `sessions`."""
    side: int | None = None
    """Rows and columns to which images are brought; None for their own."""


@dataclass(frozen=True)
class LoadPlan:
    """One window of load. Give `seconds` or `requests`; raises `InvalidInputError` else."""

    mix: Mix
    """Which images and questions are sent."""
    loop: Loop = Loop.CLOSED
    """What decides when."""
    users: int = 1
    """Users at once."""
    rate_per_s: float | None = None
    """Requests due per second, all users together; for an open loop only."""
    seconds: float | None = None
    """Length of the window."""
    requests: int | None = None
    """Or: requests in the window, all users together."""
    warm_up: int = 2
    """Requests of each user, of eight at most in an open loop, before the window begins."""
    workers: int = 0
    """Locust worker processes that share the users; 0 for users in the load process itself."""
    workload: WorkloadSpec = field(default_factory=WorkloadSpec)
    """The images and questions."""

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.requests is None):
            raise InvalidInputError(
                "wanted a window of some seconds or of some requests, got both or neither: "
                "give one of them"
            )
        if (self.loop is Loop.OPEN) != (self.rate_per_s is not None):
            raise InvalidInputError(
                "wanted a rate for an open loop and none for a closed one, got another: "
                "give or leave out rate_per_s"
            )

    @property
    def requests_per_user(self) -> int | None:
        """How often each user asks; None for as long as the window lasts.

        Where none of the requests goes ahead of a window of so many, users share them, and none is
        under way when it ends: those of slow models would take as long again.
        """
        if self.requests is None or self.warm_up or self.loop is Loop.OPEN:
            return None
        return math.ceil(self.requests / self.users)

    def numbered(self) -> LoadPlan:
        """The same with a random number for its first distinct image, unless it has one."""
        if self.workload.serial is not None:
            return self
        serial = random.SystemRandom().getrandbits(_RANDOM_BITS)
        return replace(self, workload=replace(self.workload, serial=serial))

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "mix": self.mix.value, "loop": self.loop.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LoadPlan:
        """The plan that `to_json` described."""
        workload = dict(document["workload"])
        for name in ("images", "texts"):
            workload[name] = tuple(workload[name])
        return cls(
            **{
                **document,
                "mix": Mix(document["mix"]),
                "loop": Loop(document["loop"]),
                "workload": WorkloadSpec(**workload),
            }
        )
