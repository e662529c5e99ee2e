"""Runs an exported graph on the CPU by ONNX Runtime, for the Python backend."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION
from organseg.errors import ReleaseError
from organseg.serving.stage import Arrays


class GraphSession:
    """One graph, loaded once; safe to call from one thread at a time."""

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
            raise ReleaseError(
                f"wanted an ONNX graph in {path.parent.parent.name}/{path.name}, could not load "
                f"it ({type(error).__name__}): export the release again"
            ) from error
        recorded = self._session.get_modelmeta().custom_metadata_map.get(CONTRACT_PARAMETER)
        if recorded != CONTRACT_VERSION:
            raise ReleaseError(
                f"wanted a graph of contract version {CONTRACT_VERSION}, got {recorded} in "
                f"{path.parent.parent.name}: export the release again"
            )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, inputs: Arrays) -> Arrays:
        """The graph's outputs for one batch."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
