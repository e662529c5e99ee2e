"""Runs an exported graph on the CPU by ONNX Runtime, in float32."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from organseg.contract import CONTRACT_PARAMETER
from organseg.serving.graph_engine import damaged_graph, require_contract
from organseg.serving.stage import Arrays


class OnnxRuntimeGraph:
    """A `GraphEngine` of ONNX Runtime."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Loads a graph.

        Threads wait without spinning: several engines share few cores, and one that spins
        takes the core from the one that has work.

        Raises:
            ReleaseError: the file is missing, damaged, or of another contract version.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise damaged_graph(path, error) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        require_contract(metadata.get(CONTRACT_PARAMETER), path)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, inputs: Arrays) -> Arrays:
        """The graph's outputs for one batch."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
