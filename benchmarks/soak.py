"""Thousands of mixed requests, and whether the server's memory stays what it was.

Several threads send, in random order, images that were never sent before, images that were,
sessions, images of several sizes, and requests that must be refused. The server's memory is read
every so many requests. A server that keeps what it has computed grows until its caches are full;
only what it grows by afterwards is a leak.
"""

from __future__ import annotations

import itertools
import random
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.load.observation import Kept
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.questions import NextQuestion, QuestionSource
from benchmarks.load.target import Target
from benchmarks.load.window import Mix
from benchmarks.workload import Question
from organseg.errors import InvalidInputError, OrganSegError

GOAL = 1.03
"""Memory at the end over memory with the caches full."""
SIDES = (64, 128, 256)
"""Rows and columns of the images."""

_SAMPLES_AT_EACH_END = 3
_STILL_SAMPLES = 5
_WEIGHTS = {"distinct": 40, "repeated": 30, "sessions": 25, "bad": 5}


@dataclass(frozen=True)
class MemorySample:
    """The server's memory at one moment."""

    requests: int
    """Requests done by then."""
    memory_mib: float
    """Of all its processes."""
    kept: Mapping[str, Kept] | None
    """What its stages keep; None where nothing is kept."""


@dataclass(frozen=True)
class SoakOutcome:
    """What became of the server's memory."""

    full: MemorySample
    """The first sample with the caches full; its memory is the median of three from there on."""
    end: MemorySample
    """The last sample; its memory is the median of the last three."""

    @property
    def ratio(self) -> float:
        """Memory at the end over memory with the caches full."""
        return self.end.memory_mib / self.full.memory_mib


class Soak:
    """The mixed requests of several users, each with targets of its own.

    `targets` makes a user's: one that sends image and question, and one that opens sessions, or
    None where the client knows none.
    """

    def __init__(
        self, spec: WorkloadSpec, targets: Callable[[], tuple[Target, Target | None]], users: int
    ) -> None:
        self.asked: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._random = random.Random(spec.seed)
        self._lock = threading.Lock()
        self._targets = targets
        self._users: list[tuple[Target, Target | None]] = []
        self._free: list[tuple[Target, Target | None, Iterator[NextQuestion]]] = []
        workers = itertools.count()
        sources = {
            mix: [
                # Numbers of its own for each: a session's image is none that was sent as a whole.
                QuestionSource(replace(spec, side=side), mix, next(workers))
                for side in SIDES
            ]
            for mix in Mix
        }
        self._streams = {
            mix: itertools.cycle([source.stream(0) for source in sources[mix]])
            for mix in (Mix.DISTINCT, Mix.REPEATED)
        }
        for user in range(users):
            whole, session = targets()
            self._users.append((whole, session))
            stream = sources[Mix.SESSIONS][user % len(SIDES)].stream(user)
            self._free.append((whole, session, stream))

    def ask(self, requests: int) -> None:
        """Sends so many, all users at once; what fails without need is in `errors`."""
        with ThreadPoolExecutor(len(self._users)) as pool:
            for done in [pool.submit(self._ask_one) for _ in range(requests)]:
                done.result()

    def close(self) -> None:
        """Ends the connections."""
        for whole, session in self._users:
            whole.close()
            if session is not None:
                session.close()

    def _ask_one(self) -> None:
        with self._lock:
            user = self._free.pop()
            whole, session, sessions = user
            weights = dict(_WEIGHTS)
            if session is None:
                del weights["sessions"]
            (kind,) = self._random.choices(list(weights), list(weights.values()))
            self.asked[kind] += 1
            target = whole
            if kind == "sessions":
                assert session is not None
                target, question = session, next(sessions).question
            elif kind == "bad":
                question = self._bad()
            else:
                question = next(next(self._streams[Mix(kind)])).question
        error = _error_of(target, question)
        with self._lock:
            self._free.append(user)
            if kind == "bad":
                if not isinstance(error, InvalidInputError):
                    self.errors["a bad request was not refused"] += 1
            elif error is not None:
                self.errors[type(error).__name__] += 1

    def _bad(self) -> Question:
        good = next(next(self._streams[Mix.DISTINCT])).question
        return self._random.choice(
            (
                Question(good.image[: len(good.image) // 2], good.text),
                Question(b"no image at all", good.text),
                Question(good.image, "x" * 100_000),
            )
        )


def caches_are_full(samples: Sequence[MemorySample]) -> bool:
    """Whether every keeping stage has had to drop something, or has not grown for a while.

    True where nothing is kept.
    """
    kept = samples[-1].kept
    if not kept:
        return True
    if len(samples) <= _STILL_SAMPLES:
        earlier: Mapping[str, Kept] = {}
    else:
        earlier = samples[-1 - _STILL_SAMPLES].kept or {}
    return all(
        now.evictions > 0 or (stage in earlier and now.bytes <= earlier[stage].bytes)
        for stage, now in kept.items()
    )


def outcome_of(samples: Sequence[MemorySample], settle_requests: int) -> SoakOutcome | None:
    """The outcome; None where the caches were not full in time to see anything afterwards.

    `settle_requests` are done in any case before the first is taken, since allocators and thread
    pools, too, grow at first.
    """
    for number, sample in enumerate(samples):
        if sample.requests >= settle_requests and caches_are_full(samples[: number + 1]):
            behind = samples[number:]
            if len(behind) < 2 * _SAMPLES_AT_EACH_END:
                return None
            return SoakOutcome(
                replace(sample, memory_mib=_median(behind[:_SAMPLES_AT_EACH_END])),
                replace(samples[-1], memory_mib=_median(behind[-_SAMPLES_AT_EACH_END:])),
            )
    return None


def _error_of(target: Target, question: Question) -> OrganSegError | None:
    try:
        target.ask(question)
    except OrganSegError as error:
        return error
    return None


def _median(samples: Sequence[MemorySample]) -> float:
    return statistics.median(sample.memory_mib for sample in samples)
