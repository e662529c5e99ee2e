"""The stage benchmark: one user asks one question after another; Triton says where time went.

Nothing else is asked of the server meanwhile, images and questions are distinct and encoded
before the clock starts, and the first requests are not counted. What comes out is the cost of
one request on an idle server: no throughput, no queueing under load.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.critical_path import CriticalPath, critical_path
from benchmarks.statistics import (
    NO_COUNTS,
    Counters,
    ModelTimes,
    StatisticsReader,
    times_per_request,
)
from benchmarks.workload import Question
from organseg.contract import (
    ENSEMBLE_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    TINY,
    models_of,
)
from organseg.errors import OrganSegError, ServerFaultError
from organseg_client import OrganSegClient

STAGES = tuple(model.name for model in models_of(TINY) if model.name != SESSIONS_NAME)
"""The stages that a question with an image may go through; they are every preset's, only inner
sizes differ. A release that keeps nothing has no `image_features`."""

_ENCODER = "image_encoder"

DEADLINE_S = 120.0

Progress = Callable[[Sequence[Question]], Iterable[Question]]
"""Wraps the questions in something that shows how many were asked, `tqdm` for one."""


@dataclass(frozen=True)
class Latencies:
    """How long requests took at the client, milliseconds."""

    mean: float
    """The mean, which the overhead is reckoned from."""
    p50: float
    """The median."""
    p95: float
    """95 of 100 took no longer."""
    p99: float
    """99 of 100 took no longer; near the longest where there are few requests."""
    min: float
    """The shortest."""
    max: float
    """The longest."""


@dataclass(frozen=True)
class StageTimings:
    """What one run of the benchmark measured."""

    answered: int
    """Requests answered, warm-up left out."""
    errors: dict[str, int]
    """Requests that failed, by the name of the error; no latency below counts them."""
    other_requests: int
    """Requests of somebody else that a stage or the ensemble ran meanwhile; they blur the times."""
    latencies: Latencies
    """End to end at the client."""
    stages: tuple[ModelTimes, ...]
    """Every stage, in the order in which data walks them."""
    ensemble: ModelTimes
    """The ensemble: its queue and compute are sums over all stages."""
    path: CriticalPath
    """The critical path and the overhead per hop."""


def summarise_latencies(milliseconds: Sequence[float]) -> Latencies:
    """The latencies' mean, percentiles and bounds; at least one is wanted."""
    values = np.asarray(milliseconds, dtype=np.float64)
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return Latencies(float(values.mean()), p50, p95, p99, float(values.min()), float(values.max()))


def time_stages(
    address: str, warm_up: Sequence[Question], questions: Sequence[Question], progress: Progress
) -> StageTimings:
    """Asks the server at `HOST:PORT`, one question at a time, and says where the time went.

    Raises:
        OrganSegError: the server cannot be reached, refuses its statistics, or fails on a
            question of the warm-up; or on every other one.
    """
    with (
        OrganSegClient(address, deadline_s=DEADLINE_S) as client,
        StatisticsReader(address) as reader,
    ):
        client.connect()
        start = reader.read()
        for question in warm_up:
            client.segment(question.image, question.text)
        before = reader.read_settled(_targets(start, len(warm_up)))
        milliseconds, errors = _ask(client, progress(questions))
        if not milliseconds:
            raise ServerFaultError(
                f"wanted answers, all {len(questions)} requests failed ({_listed(errors)}): see "
                "the server's log, and whether the images are ones that it takes"
            )
        after = reader.read_settled(_targets(before, len(milliseconds)))
    return reckon(before, after, milliseconds, errors)


def reckon(
    before: dict[str, Counters],
    after: dict[str, Counters],
    milliseconds: Sequence[float],
    errors: dict[str, int],
) -> StageTimings:
    """The timings, from two readings of the counters and the latencies between them."""
    reuses = FEATURES_NAME in after
    counted = {
        name: after.get(name, NO_COUNTS).since(before.get(name, NO_COUNTS))
        for name in (*STAGES, ENSEMBLE_NAME)
        if name != FEATURES_NAME or reuses
    }
    if reuses and not counted[_ENCODER].requests:
        # Every image was known.
        del counted[_ENCODER]
    times = {name: times_per_request(name, counters) for name, counters in counted.items()}
    latencies = summarise_latencies(milliseconds)
    walked = [model for model in models_of(TINY) if model.name in times]
    return StageTimings(
        answered=len(milliseconds),
        errors=errors,
        other_requests=_others(times, len(milliseconds), sum(errors.values())),
        latencies=latencies,
        stages=tuple(times[name] for name in STAGES if name in times),
        ensemble=times[ENSEMBLE_NAME],
        path=critical_path(times, walked, latencies.mean),
    )


def _ask(
    client: OrganSegClient, questions: Iterable[Question]
) -> tuple[list[float], dict[str, int]]:
    milliseconds: list[float] = []
    errors: Counter[str] = Counter()
    for question in questions:
        started = time.perf_counter()
        try:
            client.segment(question.image, question.text)
        except OrganSegError as error:
            errors[type(error).__name__] += 1
        else:
            milliseconds.append((time.perf_counter() - started) * 1e3)
    return milliseconds, dict(errors)


def _targets(counters: dict[str, Counters], more: int) -> dict[str, int]:
    # Of images that are known, `image_features` does not ask the encoder.
    certain = {*STAGES, ENSEMBLE_NAME} - ({_ENCODER} if FEATURES_NAME in counters else set())
    return {name: counters[name].requests + more for name in certain if name in counters}


def _others(times: dict[str, ModelTimes], answered: int, failed: int) -> int:
    # A request of ours that failed late, or of others that was given up, went through some
    # stages and not through the ensemble.
    in_stages = max(times[name].requests for name in STAGES if name in times) - answered - failed
    return max(times[ENSEMBLE_NAME].requests - answered, in_stages)


def _listed(errors: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in errors.items())
