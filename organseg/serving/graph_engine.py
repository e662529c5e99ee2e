"""What every CPU engine gives a stage: one loaded graph, arrays in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from organseg.contract import CONTRACT_VERSION
from organseg.errors import ReleaseError
from organseg.serving.stage import Arrays


class GraphEngine(Protocol):
    """One graph, loaded once; safe to call from one thread at a time."""

    def infer(self, inputs: Arrays) -> Arrays:
        """The graph's outputs for one batch, by name, in the contract's types."""
        ...


def damaged_graph(path: Path, error: Exception) -> ReleaseError:
    """The error for a file that an engine cannot load; it names the stage and no folder."""
    return ReleaseError(
        f"wanted an ONNX graph in {path.parent.parent.name}/{path.name}, could not load "
        f"it ({type(error).__name__}): export the release again"
    )


def require_contract(recorded: str | None, path: Path) -> None:
    """Raises `ReleaseError` unless a graph's metadata names this contract version."""
    if recorded != CONTRACT_VERSION:
        raise ReleaseError(
            f"wanted a graph of contract version {CONTRACT_VERSION}, got {recorded} in "
            f"{path.parent.parent.name}: export the release again"
        )
