"""Exports one graph stage to ONNX, by the dynamo exporter, with the contract's names and axes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor

from export.onnx_files import save_graph
from organseg.contract import Model, Preset
from organseg.contract.engines import BATCH, batch_axis, dynamic_axes
from organseg.networks.stages import GraphModule

OPSET = 18
"""The newest opset that TensorRT's parser takes in full."""


def export_graph(
    module: GraphModule,
    model: Model,
    preset: Preset,
    inputs: tuple[Tensor, ...],
    path: Path,
    *,
    metadata: Mapping[str, str],
) -> tuple[int, int]:
    """Writes one stage as a simplified ONNX graph with dynamic batch.

    Constants are folded and what is computed twice or for nothing is taken out, by onnxscript's
    optimizer: it keeps the names of modules on every node, which `export.precision` goes by.

    Args:
        module: the export target.
        model: the stage's tensors.
        preset: the sizes and the largest batch.
        inputs: sample inputs of batch 2 or more (a batch of 1 would be burnt in).
        path: the file to write.
        metadata: what the graph says of itself; read again by servers and by the checker.

    Returns:
        Its nodes before and after simplifying.
    """
    dims = {BATCH: torch.export.Dim(BATCH, min=1, max=batch_axis(preset).max)}
    for tensor in model.inputs:
        for axis in tensor.axes:
            if not axis.is_static:
                dims[axis.name] = torch.export.Dim(axis.name, min=axis.min, max=axis.max)
    shapes = tuple(
        {position: dims[name] for position, name in dynamic_axes(tensor).items()}
        for tensor in model.inputs
    )
    with warnings.catch_warnings(), _quiet_exporter():
        # The exporter's own use of deprecated torch internals is not ours to mend.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in model.inputs],
            output_names=[tensor.name for tensor in model.outputs],
            dynamic_shapes=shapes,
            optimize=False,
            verbose=False,
        )
        if program is None:
            raise RuntimeError(f"torch.onnx.export gave no program for {model.name}")
        before = program.model.graph.num_nodes()
        program.optimize()
    graph = program.model_proto
    _name_output_axes(graph, model)
    for key, value in metadata.items():
        graph.metadata_props.add(key=key, value=value)
    save_graph(graph, path)
    return before, len(graph.graph.node)


def _name_output_axes(graph: onnx.ModelProto, model: Model) -> None:
    """Gives the outputs the contract's static sizes and axis names.

    The exporter derives output shapes as expressions of the inputs'; the contract knows them.
    """
    declared = {tensor.name: tensor for tensor in model.outputs}
    for value in graph.graph.output:
        tensor = declared[value.name]
        names = dynamic_axes(tensor)
        sizes = (None, *tensor.shape())
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if position in names:
                dim.dim_param = names[position]
            elif dim.dim_value != sizes[position]:
                raise ValueError(
                    f"{model.name}.{value.name}: wanted axis {position} of size "
                    f"{sizes[position]}, the graph has {dim.dim_value or dim.dim_param}"
                )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keeps the exporter's progress notes out of the terminal; errors still raise."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
