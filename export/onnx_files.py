"""Writes ONNX graphs, those beyond protobuf's two gigabytes with their weights beside them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import convert_model_to_external_data

LARGEST_FILE_BYTES = 2**31 - 2**24
"""Weights from here on go into a file of their own: protobuf stops at 2 GiB, nodes included."""

_SMALLEST_OUTSIDE_BYTES = 1024
"""Smaller tensors, such as shapes, stay in the graph, where compilers read them."""


def data_file(path: Path) -> Path:
    """Where a graph's weights lie if they are outside it; `onnx.load` and engines find them."""
    return path.with_name(f"{path.name}.data")


def save_graph(
    graph: onnx.ModelProto, path: Path, *, largest_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Writes and checks a graph; what was at its place before is gone.

    Args:
        graph: the graph, its weights in it; they are no longer if they are put outside.
        path: the file; its folder is there.
        largest_bytes: weights of more bytes are put into `data_file(path)`.

    Raises:
        onnx.checker.ValidationError: it is no valid graph.
    """
    data_file(path).unlink(missing_ok=True)
    if sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > largest_bytes:
        convert_model_to_external_data(
            graph,
            all_tensors_to_one_file=True,
            location=data_file(path).name,
            size_threshold=_SMALLEST_OUTSIDE_BYTES,
            convert_attribute=False,
        )
    onnx.save(graph, str(path))
    # By its path: a graph with weights outside is checked together with them.
    onnx.checker.check_model(str(path))


def file_bytes(path: Path) -> int:
    """The size of a graph on the disk, weights beside it included."""
    outside = data_file(path)
    return path.stat().st_size + (outside.stat().st_size if outside.is_file() else 0)
