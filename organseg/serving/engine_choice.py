"""Chooses a graph's CPU engine: the first of the table that this machine has, or the user's."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from organseg.contract import CpuEngine
from organseg.contract.cpu_engines import ENGINES_PARAMETER, allowed, parse_engines
from organseg.errors import EngineError
from organseg.serving.cpu_features import BFLOAT16_FEATURES, cpu_features, gains_in_bfloat16
from organseg.serving.graph_engine import GraphEngine

ENGINE_VARIABLE = "ORGANSEG_ENGINE"
"""Set by `organseg serve --engine`: overrides the table for every graph; bfloat16 still only
where the contract allows it."""

_LOG = logging.getLogger(__name__)


def engines_for(stage: str, parameters: Mapping[str, str]) -> tuple[CpuEngine, ...]:
    """The engines that a stage may take, best first.

    From its config's parameters unless the variable says other; ONNX Runtime where a config says
    nothing, as those of releases made before there was a choice.

    Raises:
        ContractError: an engine is not known.
    """
    chosen = os.environ.get(ENGINE_VARIABLE)
    text = chosen or parameters.get(ENGINES_PARAMETER) or CpuEngine.ONNXRUNTIME.value
    return tuple(dict.fromkeys(allowed(engine, stage) for engine in parse_engines(text)))


def load_graph(path: Path, engines: Sequence[CpuEngine], *, threads: int) -> GraphEngine:
    """A graph in the first of the engines that this machine has and gains by.

    What is passed over is a line in the log, with the reason. A single engine is taken for what it
    is: somebody chose it.

    Raises:
        EngineError: the machine has none of them.
        ReleaseError: the file is missing, damaged, or of another contract version.
    """
    missing: list[str] = []
    for engine in engines:
        try:
            if len(engines) > 1:
                _require_gain(engine)
            graph = load_with(engine, path, threads=threads)
        except EngineError as error:
            missing.append(str(error))
            continue
        for reason in dict.fromkeys(missing):
            _LOG.warning("%s runs by %s: %s", path.parent.parent.name, engine.value, reason)
        return graph
    raise EngineError("; ".join(dict.fromkeys(missing)))


def _require_gain(engine: CpuEngine) -> None:
    able = not cpu_features().isdisjoint(BFLOAT16_FEATURES)
    if engine is CpuEngine.OPENVINO_BF16 and able and not gains_in_bfloat16():
        raise EngineError(
            f"wanted a CPU that gains by {engine.value}, this one multiplies float32 as fast: "
            f"choose {engine.value} by name to have it all the same"
        )


def load_with(engine: CpuEngine, path: Path, *, threads: int) -> GraphEngine:
    """A graph in this engine; raises `EngineError` where the machine does not have it."""
    if not engine.runs_graphs:
        raise EngineError(
            f"wanted an engine that runs exported graphs, got {engine.value}: choose "
            f"{CpuEngine.OPENVINO.value} or {CpuEngine.ONNXRUNTIME.value}"
        )
    if engine is CpuEngine.ONNXRUNTIME:
        from organseg.serving.onnxruntime_graph import OnnxRuntimeGraph

        return OnnxRuntimeGraph(path, threads=threads)
    from organseg.serving.openvino_graph import OpenVinoGraph

    bfloat16 = engine is CpuEngine.OPENVINO_BF16
    if bfloat16 and cpu_features().isdisjoint(BFLOAT16_FEATURES):
        raise EngineError(
            f"wanted a CPU with {' or '.join(BFLOAT16_FEATURES)} for the engine {engine.value}, "
            f"this one has neither: choose {CpuEngine.OPENVINO.value} or "
            f"{CpuEngine.ONNXRUNTIME.value}"
        )
    return OpenVinoGraph(path, threads=threads, bfloat16=bfloat16)
