"""The engine benchmark: one graph stage in every engine that a CPU has, and in torch.

The engines take turns in one process, each with the same threads and the same inputs, so that what
else the machine does meanwhile hits all of them alike: seconds vary from run to run, ratios hold.
An engine is loaded for its turn and dropped after it: a full-size graph takes gigabytes in each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.samples import inputs_of
from organseg.contract import CpuEngine, Model
from organseg.errors import EngineError
from organseg.networks.stages import GraphModule
from organseg.serving.engine_choice import load_with
from organseg.serving.stage import Arrays

TORCH = "torch"
"""PyTorch's eager mode in float32: what all are compared with."""
TORCH_BF16 = "torch-bf16"
"""The same under autocast to bfloat16."""
ENGINES = (TORCH, TORCH_BF16, *(engine.value for engine in CpuEngine if engine.runs_graphs))

LEAST_SECONDS = 0.2
"""How long one timing lasts at least; small graphs are called several times in it."""

Told = Callable[[str], None]
"""Called with an engine's name before each of its turns."""


@dataclass(frozen=True)
class EngineRun:
    """One engine's measurements of one stage."""

    engine: str
    """The engine."""
    load_s: float | None
    """Median seconds to load the graph; None for torch, whose module is there already."""
    seconds: tuple[float, ...]
    """Seconds of a call, in each of its turns."""
    cpu_seconds: tuple[float, ...]
    """Processor seconds of a call, over all threads."""
    max_difference: float
    """Largest absolute difference from torch in float32, in what the next stage reads."""
    relative_difference: float
    """The same as a share of each output's largest value, or of one where that is smaller."""

    @property
    def median_s(self) -> float:
        """The median seconds of a call."""
        return float(np.median(self.seconds))

    @property
    def median_cpu_s(self) -> float:
        """The median processor seconds of a call."""
        return float(np.median(self.cpu_seconds))


@dataclass(frozen=True)
class StageComparison:
    """All engines on one stage."""

    stage: str
    """The stage."""
    threads: int
    """Threads that every engine had."""
    shapes: dict[str, tuple[int, ...]]
    """The inputs' shapes, batch first."""
    runs: tuple[EngineRun, ...]
    """Every engine that this machine has, torch in float32 first."""
    missing: dict[str, str]
    """Engines that it has not, with the reason."""


Infer = Callable[[Arrays], Arrays]
Load = Callable[[], Infer]


@dataclass(frozen=True)
class _Turn:
    """What one turn of one engine gave."""

    load_s: float
    seconds: float
    cpu_seconds: float
    outputs: Arrays


def compare_engines(
    module: GraphModule,
    model: Model,
    graph: Path,
    tensors: dict[str, Tensor],
    *,
    threads: int,
    turns: int,
    told: Told = lambda _: None,
) -> StageComparison:
    """Measures one stage in every engine.

    Args:
        module: the stage in torch.
        model: its tensors.
        graph: its exported graph, with the same weights.
        tensors: every input by name, for one request.
        threads: threads of every engine.
        turns: timings of each engine; another one goes first each time.
        told: hears what comes next; `turns` times for each engine.
    """
    torch.set_num_threads(threads)
    inputs = {
        tensor.name: value.numpy()
        for tensor, value in zip(model.inputs, inputs_of(model, tensors), strict=True)
    }
    loads = _loads(module, model, graph, threads)
    taken: dict[str, list[_Turn]] = {name: [] for name in loads}
    missing: dict[str, str] = {}
    for turn in range(turns):
        order = list(loads)
        first = turn % len(order)
        for name in order[first:] + order[:first]:
            told(name)
            if name in missing:
                continue
            try:
                taken[name].append(_take_turn(loads[name], inputs))
            except EngineError as error:
                missing[name] = str(error)
    return StageComparison(
        stage=model.name,
        threads=threads,
        shapes={name: array.shape for name, array in inputs.items()},
        runs=tuple(
            _summary(name, each, taken[TORCH][0].outputs) for name, each in taken.items() if each
        ),
        missing=missing,
    )


def _summary(engine: str, taken: Sequence[_Turn], wanted: Arrays) -> EngineRun:
    in_torch = engine in (TORCH, TORCH_BF16)
    return EngineRun(
        engine,
        None if in_torch else float(np.median([turn.load_s for turn in taken])),
        tuple(turn.seconds for turn in taken),
        tuple(turn.cpu_seconds for turn in taken),
        *_differences(wanted, taken[0].outputs),
    )


def _loads(module: GraphModule, model: Model, graph: Path, threads: int) -> dict[str, Load]:
    """How each engine is loaded, by its name."""
    loads: dict[str, Load] = {
        TORCH: lambda: _in_torch(module, model, rounded=False),
        TORCH_BF16: lambda: _in_torch(module, model, rounded=True),
    }
    for engine in (each for each in CpuEngine if each.runs_graphs):
        loads[engine.value] = lambda engine=engine: (  # type: ignore[misc]
            load_with(engine, graph, threads=threads).infer
        )
    return loads


def _take_turn(load: Load, inputs: Arrays) -> _Turn:
    started = time.perf_counter()
    infer = load()
    load_s = time.perf_counter() - started
    # Not timed: engines choose kernels and memory when they first meet a shape.
    started = time.perf_counter()
    # Copied: ONNX Runtime's own arrays keep all of its working memory alive.
    outputs = {name: array.copy() for name, array in infer(inputs).items()}
    calls = max(1, math.ceil(LEAST_SECONDS / (time.perf_counter() - started)))
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        infer(inputs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return _Turn(load_s, wall / calls, cpu / calls, outputs)


def _in_torch(module: GraphModule, model: Model, *, rounded: bool) -> Infer:
    def infer(inputs: Arrays) -> Arrays:
        given = [torch.from_numpy(inputs[tensor.name]) for tensor in model.inputs]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            found = module(*given)
        return {
            tensor.name: output.numpy() for tensor, output in zip(model.outputs, found, strict=True)
        }

    return infer


def _differences(wanted: Arrays, got: Arrays) -> tuple[float, float]:
    """The largest difference over all outputs: absolute, and as a share of the largest value."""
    largest, shares = [], []
    for name, reference in wanted.items():
        reference = reference.astype(np.float32)
        difference = np.abs(reference - got[name].astype(np.float32)).max()
        largest.append(difference)
        shares.append(difference / max(1.0, np.abs(reference).max()))
    # numpy's maximum keeps a NaN.
    return float(np.max(largest)), float(np.max(shares))
