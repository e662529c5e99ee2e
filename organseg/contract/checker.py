"""Holds rendered configs against exported graphs, offline.

Triton's native backends refuse a model whose config and graph disagree, but only when they
start, and they cannot start everywhere. This asks the same questions of the files alone:
names, data types, ranks, static dimensions and the batch axis, and the contract version.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from organseg.contract.pbtxt import parse_config
from organseg.contract.tensors import DataType
from organseg.contract.version import CONTRACT_PARAMETER
from organseg.errors import ContractError


def check_graph(config_text: str, graph_path: Path) -> None:
    """Raises `ContractError` that lists every disagreement of a config with an ONNX graph.

    Only the graph's signature is read, not its weights.
    """
    import onnx

    graph_model = onnx.load(str(graph_path), load_external_data=False)
    problems = disagreements(parse_config(config_text), graph_model)
    if problems:
        listed = "\n  ".join(problems)
        raise ContractError(
            f"wanted {graph_path.name} to match its config.pbtxt, found:\n  {listed}\n"
            "export the release again with this version of the code"
        )


def disagreements(config: Any, graph_model: Any) -> list[str]:
    """Every way in which a `ModelConfig` and an ONNX `ModelProto` disagree, as sentences."""
    graph = graph_model.graph
    weights = {initializer.name for initializer in graph.initializer}
    graph_inputs = [value for value in graph.input if value.name not in weights]
    found = [
        *_side("input", config.input, graph_inputs, config.max_batch_size),
        *_side("output", config.output, graph.output, config.max_batch_size),
    ]
    recorded = {entry.key: entry.value for entry in graph_model.metadata_props}
    wanted = config.parameters[CONTRACT_PARAMETER].string_value
    if recorded.get(CONTRACT_PARAMETER) != wanted:
        found.append(f"contract version: config {wanted}, graph {recorded.get(CONTRACT_PARAMETER)}")
    return found


def _side(
    role: str, configured: Iterable[Any], exported: Iterable[Any], max_batch_size: int
) -> list[str]:
    values = {value.name: value for value in exported}
    found = []
    names = set()
    for entry in configured:
        names.add(entry.name)
        if entry.name not in values:
            found.append(f"{role} {entry.name!r}: in the config, not in the graph")
            continue
        found += [
            f"{role} {entry.name!r}: {problem}"
            for problem in _tensor(entry, values[entry.name].type.tensor_type, max_batch_size)
        ]
    found += [
        f"{role} {name!r}: in the graph, not in the config" for name in values if name not in names
    ]
    return found


def _tensor(entry: Any, exported: Any, max_batch_size: int) -> list[str]:
    from onnx import TensorProto
    from tritonclient.grpc import model_config_pb2 as pb

    found = []
    config_name = pb.DataType.Name(entry.data_type)
    known = {dtype.config_name: dtype for dtype in DataType}
    wanted_type = known[config_name].onnx_name if config_name in known else config_name
    graph_type = TensorProto.DataType.Name(exported.elem_type)
    if wanted_type != graph_type:
        config_type = config_name.removeprefix("TYPE_")
        found.append(f"type {config_type} in the config, {graph_type} in the graph")

    graph_dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in exported.shape.dim]
    if max_batch_size > 0:
        if not graph_dims or graph_dims[0] != -1:
            found.append(f"wanted a dynamic batch axis first, the graph has {graph_dims}")
        graph_dims = graph_dims[1:]
    if list(entry.dims) != graph_dims:
        found.append(f"dimensions {list(entry.dims)} in the config, {graph_dims} in the graph")
    return found
