"""What a batch costs: each stage that joins requests is asked alone, with 1, 2, 4 and 8 at once.

Under load a stage's time also holds what the others on its cores did to it; asked alone, it is
its own. Values are random: the time does not ask what they are. A stage that keeps something of
an image is asked a second time without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from benchmarks.scaling.costs import FULL_BATCH, fit_batches
from benchmarks.statistics import StatisticsReader, times_per_request
from organseg.contract import (
    SAMPLE_QUESTION,
    DataType,
    Model,
    Platform,
    Tensor,
    deployment_of,
    models_of,
    preset_by_name,
)
from organseg_client.status import error_of_status

SIZES = (1, 2, 4, FULL_BATCH)
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class BatchCost:
    """One stage's time for batches of several sizes, alone on its machine."""

    stage: str
    """The stage's word."""
    times_ms: tuple[tuple[int, float], ...]
    """Batch size and the median time of such a batch, by Triton's statistics."""
    kept_share: float | None
    """Time of a single request whose image is kept, as a share of one that is new; None where
    the stage keeps nothing."""

    @property
    def fixed_share(self) -> float:
        """Share of a single request's time that a batch takes only once."""
        fixed_ms, per_request_ms = fit_batches(self.times_ms)
        return fixed_ms / (fixed_ms + per_request_ms)

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "stage": self.stage,
            "times_ms": [list(each) for each in self.times_ms],
            "fixed_share": self.fixed_share,
            "kept_share": self.kept_share,
        }


def measure_batches(
    address: str, preset: str, *, sizes: Sequence[int] = SIZES, rounds: int = 5, seed: int = 0
) -> list[BatchCost]:
    """What batches cost on the server at `HOST:PORT`, which nobody else asks meanwhile.

    Sizes take turns, `rounds` times, after a call of each that is not counted. Raises the
    `OrganSegError` that a failed call stands for.
    """
    sizes_of = preset_by_name(preset)
    models = models_of(sizes_of)
    random = np.random.default_rng(seed)
    with StatisticsReader(address) as reader:
        connection: Any = grpc.InferenceServerClient(address)
        try:
            served = set(reader.read())
            return [
                _measure(connection, reader, model, sizes, rounds, random)
                for model in models[1:]
                if model.name in served
                # On a CPU none joins: this is what it would cost.
                and deployment_of(sizes_of, Platform.ONNXRUNTIME, model).joins_requests
            ]
        finally:
            connection.close()


def _measure(
    connection: Any,
    reader: StatisticsReader,
    model: Model,
    sizes: Sequence[int],
    rounds: int,
    random: np.random.Generator,
) -> BatchCost:
    keeps = any(tensor.optional for tensor in model.inputs)
    new: dict[int, list[float]] = {size: [] for size in sizes}
    again: list[float] = []
    for turn in range(rounds + 1):
        for size in sizes:
            values = {tensor.name: _values(tensor, size, random) for tensor in model.inputs}
            time_ms = _call(connection, reader, model, values)
            if turn:
                new[size].append(time_ms)
            if keeps and size == 1:
                kept = {t.name: values[t.name] for t in model.inputs if not t.optional}
                time_ms = _call(connection, reader, model, kept)
                if turn:
                    again.append(time_ms)
    times = tuple((size, median(values)) for size, values in new.items())
    share = min(1.0, median(again) / median(new[1])) if again and new.get(1) else None
    return BatchCost(model.name, times, share)


def _call(
    connection: Any, reader: StatisticsReader, model: Model, values: dict[str, NDArray[Any]]
) -> float:
    """Milliseconds of compute of one call."""
    inputs = []
    for name, array in values.items():
        tensor = grpc.InferInput(name, list(array.shape), model.tensor(name).dtype.value)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    before = reader.read()[model.name]
    try:
        connection.infer(model.name, inputs, client_timeout=_TIMEOUT_S)
    except InferenceServerException as error:
        raise error_of_status(str(error.status()), str(error.message())) from error
    after = reader.read_settled({model.name: before.requests + 1})[model.name]
    return times_per_request(model.name, after.since(before)).compute_ms


def _values(tensor: Tensor, batch: int, random: np.random.Generator) -> NDArray[Any]:
    shape = (batch, *tensor.shape("min"))
    if tensor.dtype is DataType.BYTES:
        return np.full(shape, SAMPLE_QUESTION.encode(), dtype=np.object_)
    if tensor.dtype in (DataType.UINT8, DataType.INT32, DataType.BOOL):
        return random.integers(0, 256, shape).astype(tensor.dtype.numpy)
    return random.random(shape).astype(tensor.dtype.numpy)
