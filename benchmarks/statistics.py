"""Triton's own statistics: what every model did between two readings, in milliseconds.

Triton counts, per model, the requests and the nanoseconds that they spent waiting in the queue,
handing over inputs, computing, and handing over outputs. All counters only ever grow, so a
measurement is the difference of two readings (`get_inference_statistics`).

Of an ensemble Triton's queue and compute counters are the sums over its stages, also of those
that ran side by side; only its total (`in_server_ms`) is the time that a request took.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from organseg.errors import ServerFaultError
from organseg.serving.embedded.command import ADMIN_KEY_VARIABLE
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg_client.status import error_of_status

PHASES = ("queue", "compute_input", "compute_infer", "compute_output")
"""Triton's names for the parts of a request's time in a model, in order."""

_NANOSECONDS_PER_MS = 1e6
_CALL_TIMEOUT_S = 10.0
# Longer than Triton takes to count what it has answered.
_PAUSE_S = 0.1


@dataclass(frozen=True)
class Counters:
    """One model's counters at one moment, over all of its versions."""

    requests: int
    """Requests answered with success."""
    failures: int
    """Requests that failed."""
    executions: int
    """Batches run."""
    in_server_ns: int
    """Time of the successful requests from their arrival to their answer, nanoseconds."""
    phases_ns: tuple[int, ...]
    """Their time in each of `PHASES`, nanoseconds."""

    def since(self, before: Counters) -> Counters:
        """What was added after an earlier reading."""
        return self._add(before, -1)

    def plus(self, other: Counters) -> Counters:
        """Both together."""
        return self._add(other, 1)

    def _add(self, other: Counters, sign: int) -> Counters:
        return Counters(
            self.requests + sign * other.requests,
            self.failures + sign * other.failures,
            self.executions + sign * other.executions,
            self.in_server_ns + sign * other.in_server_ns,
            tuple(a + sign * b for a, b in zip(self.phases_ns, other.phases_ns, strict=True)),
        )


NO_COUNTS = Counters(0, 0, 0, 0, (0,) * len(PHASES))


@dataclass(frozen=True)
class ModelTimes:
    """What one model did for one request, the mean over `requests`."""

    name: str
    """The stage or the ensemble."""
    requests: int
    """Requests that it answered."""
    executions: int
    """Batches that it ran; as many as requests where one user asks."""
    queue_ms: float
    """Waiting for an instance, or for company in a batch."""
    compute_input_ms: float
    """Handing the inputs to the backend."""
    compute_infer_ms: float
    """The model's own work."""
    compute_output_ms: float
    """Taking the outputs from the backend."""
    in_server_ms: float
    """From arrival to answer, all of the above and what is between."""

    @property
    def compute_ms(self) -> float:
        """Input, work and output together."""
        return self.compute_input_ms + self.compute_infer_ms + self.compute_output_ms


def times_per_request(name: str, counters: Counters) -> ModelTimes:
    """The mean times of one model; raises `ServerFaultError` where it answered no request."""
    if counters.requests < 1:
        raise ServerFaultError(
            f"wanted requests counted for the model {name!r}, Triton counted none: serve a release "
            "whose ensemble runs it"
        )
    scale = 1 / (_NANOSECONDS_PER_MS * counters.requests)
    queue, given, worked, taken = (phase * scale for phase in counters.phases_ns)
    return ModelTimes(
        name,
        counters.requests,
        counters.executions,
        queue,
        given,
        worked,
        taken,
        counters.in_server_ns * scale,
    )


def read_counters(document: Mapping[str, Any]) -> dict[str, Counters]:
    """The counters of every model in Triton's `ModelStatistics` as JSON."""
    found: dict[str, Counters] = {}
    for model in document.get("model_stats", ()):
        statistics = model.get("inference_stats", {})

        # A counter of zero is left out of the JSON.
        def of(part: str, key: str, statistics: Mapping[str, Any] = statistics) -> int:
            return int(statistics.get(part, {}).get(key, 0))

        counters = Counters(
            of("success", "count"),
            of("fail", "count"),
            int(model.get("execution_count", 0)),
            of("success", "ns"),
            tuple(of(phase, "ns") for phase in PHASES),
        )
        found[model["name"]] = counters.plus(found.get(model["name"], NO_COUNTS))
    return found


class StatisticsReader:
    """Reads the counters of a server by gRPC, from `HOST:PORT`; close it after use.

    A server that is open to a network asks for the key in `ORGANSEG_ADMIN_KEY`.
    """

    def __init__(self, address: str) -> None:
        self._connection: Any = grpc.InferenceServerClient(address)
        key = os.environ.get(ADMIN_KEY_VARIABLE)
        self._headers = {f"triton-grpc-protocol-{ADMIN_HEADER}": key} if key else None

    def __enter__(self) -> StatisticsReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def read(self) -> dict[str, Counters]:
        """The counters now; raises the `OrganSegError` that the failed call stands for."""
        try:
            document = self._connection.get_inference_statistics(
                headers=self._headers, as_json=True, client_timeout=_CALL_TIMEOUT_S
            )
        except InferenceServerException as error:
            raise error_of_status(str(error.status()), str(error.message())) from error
        return read_counters(document)

    def read_settled(
        self, wanted: Mapping[str, int], *, patience_s: float = 5.0
    ) -> dict[str, Counters]:
        """The counters once every model named has answered so many requests and all stand still.

        Triton counts a request after it has sent the answer, so a reading right behind an
        answer may lack it; and a request of somebody who has gone may still be under way. On a
        server that others keep asking the counters never stand still: then they are what they
        are when the time is up. Raises `ServerFaultError` where requests are missing by then.
        """
        deadline = time.monotonic() + patience_s
        earlier: dict[str, Counters] | None = None
        while True:
            counters = self.read()
            late = [
                name
                for name, count in wanted.items()
                if counters.get(name, NO_COUNTS).requests < count
            ]
            is_late = time.monotonic() > deadline
            if not late and (counters == earlier or is_late):
                return counters
            if is_late:
                raise ServerFaultError(
                    f"wanted the requests counted for {', '.join(late)}, Triton did not within "
                    f"{patience_s:g} s: look whether the server was started anew meanwhile"
                )
            earlier = counters
            time.sleep(_PAUSE_S)
