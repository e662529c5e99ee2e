"""The table of CPU engines: what computes a stage in the Python backend, best first.

An engine stands where it does because it was measured (`python -m benchmarks engines`): the tables
are in docs/results/engines, the reasons in docs/decisions/0015-cpu-engines.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from organseg.contract.models import Model, ModelKind
from organseg.errors import ContractError

ENGINES_PARAMETER = "engines"
"""The parameter's name in the configs of the stages that have engines."""


class CpuEngine(Enum):
    """What can compute a stage on a CPU."""

    ONNXRUNTIME = "onnxruntime"
    """ONNX Runtime in float32, on every CPU."""
    OPENVINO = "openvino"
    """OpenVINO in float32."""
    OPENVINO_BF16 = "openvino-bf16"
    """OpenVINO with matrix products and convolutions in bfloat16, on CPUs that gain by it."""
    TORCH = "torch"
    """torch as it is: what the language model has besides, and no exported graph."""

    @property
    def runs_graphs(self) -> bool:
        """Whether it runs exported graphs."""
        return self is not CpuEngine.TORCH


ROUNDED_STAGES = frozenset({"image_encoder"})
"""Stages that may work in bfloat16: nearly all the work is in this one, and rounding the others
moves a box or an edge further (docs/decisions/0014-precision-in-the-graph.md)."""

_IMAGE_ENCODER = (CpuEngine.OPENVINO_BF16, CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)
_FLOAT32 = (CpuEngine.ONNXRUNTIME, CpuEngine.OPENVINO)
_LANGUAGE_MODEL = (CpuEngine.OPENVINO, CpuEngine.TORCH)
"""For weights in float32: what images, the fixed text and questions are computed by."""


def engines_of(model: Model) -> tuple[CpuEngine, ...]:
    """The engines of one stage, best first; none for a stage that has no choice.

    A server takes the first that its machine has.
    """
    if model.name == "llava_med":
        return _LANGUAGE_MODEL
    if model.kind is not ModelKind.GRAPH:
        return ()
    return _IMAGE_ENCODER if model.name in ROUNDED_STAGES else _FLOAT32


def allowed(engine: CpuEngine, stage: str) -> CpuEngine:
    """The engine as a stage may use it: in float32 where the stage may not be rounded.

    There is no ONNX graph of the language model: torch stands in for ONNX Runtime.
    """
    if stage == "llava_med" and engine is CpuEngine.ONNXRUNTIME:
        return CpuEngine.TORCH
    if engine is CpuEngine.OPENVINO_BF16 and stage not in ROUNDED_STAGES:
        return CpuEngine.OPENVINO
    return engine


def engines_text(engines: Iterable[CpuEngine]) -> str:
    """The engines as configs have them: "openvino,onnxruntime"."""
    return ",".join(engine.value for engine in engines)


def parse_engines(text: str) -> tuple[CpuEngine, ...]:
    """The engines of a config's text, best first; raises `ContractError` for an unknown one."""
    known = {engine.value: engine for engine in CpuEngine}
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ContractError(
            f"wanted engines among {', '.join(known)}, got {text!r}: name one of these, or export "
            "the release again"
        )
    return tuple(known[name] for name in wanted)
