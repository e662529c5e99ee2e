"""Runs an exported graph on the CPU by OpenVINO, in float32 or with products in bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from organseg.contract import CONTRACT_PARAMETER
from organseg.errors import ContractError, EngineError
from organseg.serving.graph_engine import damaged_graph, require_contract
from organseg.serving.stage import Arrays

_TELEMETRY = "openvino_telemetry"
_METADATA = "framework"
"""Where OpenVINO keeps an ONNX graph's metadata."""


class OpenVinoGraph:
    """A `GraphEngine` of OpenVINO; batch and number of prompts stay dynamic."""

    def __init__(self, path: Path, *, threads: int, bfloat16: bool = False) -> None:
        """Loads and compiles a graph.

        Raises:
            EngineError: OpenVINO is not installed.
            ReleaseError: the file is missing, damaged, or of another contract version.
        """
        core = import_openvino().Core()
        try:
            graph = core.read_model(str(path))
            compiled = core.compile_model(
                graph,
                "CPU",
                compile_options(threads, bfloat16=bfloat16),
            )
        except RuntimeError as error:  # the base class of what its bindings raise
            raise damaged_graph(path, error) from error
        require_contract(_recorded_contract(graph), path)
        self._types = {
            port.any_name: np.dtype(port.element_type.to_dtype()) for port in compiled.inputs
        }
        self._outputs = [port.any_name for port in compiled.outputs]
        self._compiled = compiled
        self._request: Any = compiled.create_infer_request()

    @property
    def threads(self) -> int:
        """Threads that it really has: no more than the machine gives."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def infer(self, inputs: Arrays) -> Arrays:
        """The graph's outputs for one batch.

        Raises `ContractError` for an array of another type, which OpenVINO would convert in
        silence.
        """
        for name, dtype in self._types.items():
            if inputs[name].dtype != dtype:
                raise ContractError(
                    f"wanted {name} as {dtype}, got {inputs[name].dtype}: send the type that "
                    "docs/contract.md names"
                )
        # Inputs are read where they lie; outputs are copied, as the next call overwrites them.
        found = self._request.infer(inputs, share_inputs=True, share_outputs=False)
        return {name: found[name] for name in self._outputs}


def compile_options(threads: int, *, bfloat16: bool) -> dict[str, Any]:
    """How a graph is compiled.

    One stream of `threads` threads, which are not bound to cores: engines of other processes
    share these, and two that bind themselves would choose the same. The precision is always
    said, since OpenVINO left alone rounds to bfloat16 wherever the CPU can.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }


def import_openvino() -> Any:
    """The package, with its telemetry cut off; raises `EngineError` where it is not installed.

    Its tools would report their use to a server of its makers. For Python a package whose entry
    is None is not there, and without it they take a stub that sends nothing.
    """
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise EngineError(
            "wanted the engine openvino, the package is not installed: pip install "
            "'organseg[serve]', or choose onnxruntime"
        ) from None
    return openvino


def _recorded_contract(graph: Any) -> str | None:
    path = [_METADATA, CONTRACT_PARAMETER]
    return str(graph.get_rt_info(path).astype(str)) if graph.has_rt_info(path) else None
