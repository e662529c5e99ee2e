"""Engines of a release: a graph compiled by TensorRT for the GPU that will serve it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from export.tensorrt_plans import TENSORRT, compile_plan, load_library
from organseg.contract import Model, Preset
from organseg.contract.engines import tensorrt_profile
from organseg.contract.pbtxt import with_engine
from organseg.errors import EngineError
from organseg.file_hash import file_sha256
from organseg.serving.engine_cards import EngineCard, engine_file, write_card
from organseg.serving.gpu_machine import Gpu, listed, release_of, this_machine


@dataclass(frozen=True)
class Target:
    """What engines are built with and for."""

    trt: ModuleType
    """`tensorrt`; `tensorrt_rtx` compiles ahead of time, for a GPU that is not there."""
    gpu: Gpu
    """The kind of GPU."""
    ahead_of_time: bool = False
    """Whether the GPU is somewhere else."""


def target_here() -> Target:
    """The TensorRT and the GPU of this machine.

    Raises `EngineError` where TensorRT or a GPU is missing, the GPUs are of several kinds, or the
    Python package is not of the TensorRT that serves.
    """
    machine = this_machine()
    trt, gpus = load_library(TENSORRT), machine.gpus
    if machine.tensorrt not in (None, release_of(trt.__version__)):
        raise EngineError(
            f"wanted engines built by the TensorRT that serves here, {machine.tensorrt}, the "
            f"Python package is {trt.__version__}: pip install 'tensorrt=={machine.tensorrt}.*'"
        )
    if len({gpu.compute_capability for gpu in gpus}) != 1:
        raise EngineError(
            f"wanted GPUs of one kind to build engines for, got {listed(gpus)}: run the export on "
            "the machine that will serve, in a container with one kind alone (`docker run --gpus`)"
        )
    return Target(trt, gpus[0])


def build_engine(
    model: Model,
    preset: Preset,
    graph: Path,
    folder: Path,
    target: Target,
    *,
    precision: str,
    timing_cache: Path | None = None,
) -> EngineCard:
    """Builds a stage's engine and writes it, its card and the builder's log.

    Args:
        model: the stage.
        preset: its sizes.
        graph: its ONNX file; weights outside it lie beside it.
        folder: where to write.
        target: what to build with and for.
        precision: what the graph works in, for the card.
        timing_cache: a file that keeps measured kernel times between builds.

    Raises:
        EngineError: TensorRT refuses the graph.
    """
    capability = target.gpu.compute_capability
    started = time.perf_counter()
    plan = compile_plan(
        target.trt,
        graph,
        tensorrt_profile(preset, model),
        compute_capability=capability if target.ahead_of_time else None,
        timing_cache=timing_cache.read_bytes() if timing_cache and timing_cache.is_file() else b"",
    )
    seconds = time.perf_counter() - started
    engine = folder / engine_file(target.trt.__version__, capability)
    engine.write_bytes(plan.engine)
    engine.with_name(f"{engine.name}.log").write_text("\n".join(plan.log) + "\n", encoding="utf-8")
    card = EngineCard(
        model=model.name,
        engine=engine.name,
        sha256=file_sha256(engine),
        graph_sha256=file_sha256(graph),
        precision=precision,
        tensorrt=target.trt.__version__,
        compute_capability=capability,
        gpu=target.gpu.name,
        build_seconds=round(seconds, 1),
    )
    write_card(card, folder)
    if timing_cache and plan.timing_cache:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        timing_cache.write_bytes(plan.timing_cache)
    return card


def load_engine_alone(config: Path, target: Target) -> None:
    """Changes a stage's config to load the target's engine, on GPUs of its kind alone."""
    capability = target.gpu.compute_capability
    engine = engine_file(target.trt.__version__, capability)
    text = with_engine(config.read_text(encoding="utf-8"), capability, engine)
    config.write_text(text, encoding="utf-8")
