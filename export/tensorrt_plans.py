"""The one call into TensorRT: an ONNX graph in, a plan out.

TensorRT and TensorRT-RTX speak the same Python API. TensorRT builds for the GPU that it runs on;
TensorRT-RTX compiles ahead of time for a compute capability, without any GPU: that is how the
graphs are proven to parse and compile where there is none. Everything else about an engine (which
graph, which shapes, what is written beside it) is decided outside, the same for both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from organseg.contract.engines import ShapeRange
from organseg.errors import EngineError

TENSORRT = "tensorrt"
"""Builds on the GPU that will serve."""
TENSORRT_RTX = "tensorrt_rtx"
"""Compiles ahead of time, without a GPU."""

_INSTALL = {
    TENSORRT: "install the extra `gpu` where the GPU is that will serve, with the TensorRT version "
    "of the image that will serve",
    TENSORRT_RTX: "install constraints/compile-gate.txt with `pip install --no-deps -r`",
}


@dataclass(frozen=True)
class Plan:
    """A serialized engine and what building it left behind."""

    engine: bytes
    """What Triton loads as `model.plan`."""
    timing_cache: bytes
    """Measured kernel times, which make the next build faster; empty where there are none."""
    log: tuple[str, ...]
    """What the builder said, a line each, from information on."""

    @property
    def errors(self) -> list[str]:
        """The lines of the log that are errors."""
        return _errors(self.log)


def load_library(name: str) -> ModuleType:
    """`tensorrt` or `tensorrt_rtx`.

    Raises `EngineError` where it is not installed or its libraries do not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"wanted the package {name}, got {type(error).__name__} ({error}): {_INSTALL[name]}"
        ) from error


def compile_plan(
    trt: ModuleType,
    graph: Path,
    profile: Mapping[str, ShapeRange],
    *,
    compute_capability: str | None = None,
    timing_cache: bytes = b"",
) -> Plan:
    """Compiles a strongly typed graph.

    Args:
        trt: `tensorrt` or `tensorrt_rtx`.
        graph: the ONNX file; data outside it is found beside it.
        profile: smallest, likeliest and largest shape of every input.
        compute_capability: "8.6", for TensorRT-RTX alone; TensorRT builds for its own GPU.
        timing_cache: of an earlier build, of the same TensorRT and GPU.

    Raises:
        EngineError: the graph was refused, by the parser or by the compiler, with their words.
    """
    log: list[str] = []
    logger = _logger(trt, log)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        words = [f"{each.node_operator()} {each.node_name()}: {each.desc()}" for each in errors]
        raise _refused(graph, "parser", words)
    config = builder.create_builder_config()
    # What the graph keeps in float32 is not to lose 13 bits to TensorFloat-32 on its way.
    config.clear_flag(trt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    for name, shape in profile.items():
        shapes.set_shape(name, shape.min, shape.opt, shape.max)
    config.add_optimization_profile(shapes)
    if compute_capability is None:
        _use_timing_cache(config, timing_cache, log)
    else:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(trt, compute_capability), 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise _refused(graph, "compiler", _errors(log))
    kept = None if compute_capability else config.get_timing_cache()
    return Plan(
        engine=bytes(engine),
        timing_cache=bytes(kept.serialize()) if kept else b"",
        log=tuple(log),
    )


def _use_timing_cache(config: Any, stored: bytes, log: list[str]) -> None:
    """Builds with an earlier build's kernel times; with none where they are of another machine."""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        log.append("WARNING the timing cache is of another TensorRT or GPU: begun anew")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _errors(log: Sequence[str]) -> list[str]:
    return [line for line in log if line.startswith(("ERROR ", "INTERNAL_ERROR "))]


def _logger(trt: ModuleType, lines: list[str]) -> object:
    """A logger of TensorRT's own class that keeps every line from information on."""

    class Kept(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: object, message: str) -> None:
            level = str(severity).rsplit(".", 1)[-1]
            if level != "VERBOSE":
                lines.append(f"{level} {message}")

    return Kept()


def _capability(trt: ModuleType, wanted: str) -> object:
    members = trt.ComputeCapability.__members__
    name = f"SM{wanted.replace('.', '')}"
    if name not in members:
        known = ", ".join(each[2:-1] + "." + each[-1] for each in members if each[2:].isdigit())
        raise EngineError(
            f"wanted a compute capability that {trt.__name__} {trt.__version__} compiles for "
            f"({known}), got {wanted}: choose one of them"
        )
    return members[name]


def _refused(graph: Path, part: str, words: list[str]) -> EngineError:
    said = "; ".join(words) or "nothing said"
    return EngineError(
        f"wanted {graph.name} compiled by TensorRT, its {part} refused it: {said}. "
        "Look at the node named; organseg/networks/stages.py says what is exported"
    )
