"""The critical path of a request through the flow, and what lies between its stages.

    preprocess → the longer of { image_encoder → image_features ; llava_med → extractors → gate }
               → mask_decoder → postprocess

(`image_features` asks `image_encoder` for an image that it does not know, and answers when it has
it; that wait is not in its own time. A release that keeps nothing has the encoder alone.)

The two branches run side by side, so only the longer one adds to a request's time. The path is
found in the contract (a stage follows those whose outputs it reads), not written down here.

overhead per hop = (end to end − sum of compute on the critical path) / number of hops, where
- end to end is the mean latency that the client measured, so the wire is in the overhead;
- compute is Triton's compute_input + compute_infer + compute_output, the mean of each stage;
- a hop is one stage of the path: its queueing and scheduling, and the way to it;
- queueing is part of the overhead: it is also given by itself, since on a GPU heavy
  stages wait on purpose for company in a batch.

With one request under way the path of the means is the mean path, unless the branches take
turns to be the longer one; then the overhead is a little too large. On a machine with more work
than cores it can be too small, even negative: Triton may read its clock late, and its times then
run past the moment when the client has the answer. Measure on a quiet machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.statistics import ModelTimes
from organseg.contract import Model


@dataclass(frozen=True)
class CriticalPath:
    """The longest way through the flow, and how much of a request's time it explains."""

    stages: tuple[str, ...]
    """In the order in which data walks them."""
    compute_ms: float
    """Sum of their compute."""
    queue_ms: float
    """Sum of their waiting."""
    end_to_end_ms: float
    """A request's mean latency at the client."""

    @property
    def hops(self) -> int:
        """How many stages a request enters one after the other."""
        return len(self.stages)

    @property
    def overhead_ms(self) -> float:
        """What compute does not explain: queueing, scheduling, copies between, and the wire."""
        return self.end_to_end_ms - self.compute_ms

    @property
    def overhead_per_hop_ms(self) -> float:
        """The overhead's share of one stage."""
        return self.overhead_ms / self.hops


def longest_path(compute_ms: Mapping[str, float], models: Sequence[Model]) -> tuple[str, ...]:
    """The stages whose compute, one after the other, takes longest.

    `models` are in the order data walks them, as `organseg.contract.models_of` gives them. A stage
    that writes what an earlier one wrote passes it on, so it follows that one.
    """
    writers: dict[str, str] = {}
    longest: dict[str, tuple[float, tuple[str, ...]]] = {}
    for model in models:
        before = [
            longest[writers[tensor.name]]
            for tensor in (*model.inputs, *model.outputs)
            if tensor.name in writers
        ]
        length, path = max(before, key=lambda one: one[0], default=(0.0, ()))
        longest[model.name] = (length + compute_ms[model.name], (*path, model.name))
        writers |= {tensor.name: model.name for tensor in model.outputs}
    return max(longest.values(), key=lambda one: one[0])[1]


def critical_path(
    times: Mapping[str, ModelTimes], models: Sequence[Model], end_to_end_ms: float
) -> CriticalPath:
    """The critical path by each stage's mean times."""
    stages = longest_path({model.name: times[model.name].compute_ms for model in models}, models)
    return CriticalPath(
        stages,
        sum(times[name].compute_ms for name in stages),
        sum(times[name].queue_ms for name in stages),
        end_to_end_ms,
    )
