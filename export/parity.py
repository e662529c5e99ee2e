"""Compares an exported graph with the torch module that it came from.

Half-precision outputs are compared before they are rounded: the float32 tensor that the last
cast reads is made an output of the graph in memory. Rounding may turn a difference of 1e-7 into
one unit of half precision, which says nothing about the export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor

from export.samples import inputs_of
from organseg.contract import Model
from organseg.errors import ReleaseError
from organseg.networks.gate import Thresholds, decide
from organseg.networks.stages import GraphModule

TOLERANCE = 1e-4
"""Largest absolute difference between float32 torch and float32 ONNX Runtime."""
BATCHES = (1, 3)
"""Batch sizes that are compared: alone, and a number no kernel is tuned for."""


@dataclass(frozen=True)
class Parity:
    """One comparison of a graph with torch."""

    graph: str
    """The stage."""
    batch: int
    """How many requests were joined."""
    max_difference: float
    """Largest absolute difference over all outputs."""
    verdicts_identical: bool | None
    """For `extractors`: whether the gate decides the same on both; None for other stages."""

    @property
    def holds(self) -> bool:
        """Whether the graph may be released."""
        return self.max_difference <= TOLERANCE and self.verdicts_identical is not False


def compare_graph(
    path: Path,
    module: GraphModule,
    model: Model,
    samples: Sequence[dict[str, Tensor]],
    thresholds: Thresholds,
) -> list[Parity]:
    """Runs graph and module on the same inputs, one comparison per batch of `samples`."""
    session = _session_before_rounding(path)
    return [_compare(session, module, model, tensors, thresholds) for tensors in samples]


def require_parity(records: list[Parity]) -> None:
    """Raises `ReleaseError` that lists the comparisons that do not hold."""
    broken = [record for record in records if not record.holds]
    if broken:
        listed = ", ".join(
            f"{r.graph} at batch {r.batch}: {r.max_difference:.1e}"
            f"{' and other verdicts' if r.verdicts_identical is False else ''}"
            for r in broken
        )
        raise ReleaseError(
            f"wanted graphs within {TOLERANCE:g} of torch with the same verdicts, got {listed}: "
            "nothing was released; report it with the versions of torch and onnxruntime"
        )


def _compare(
    session: onnxruntime.InferenceSession,
    module: GraphModule,
    model: Model,
    tensors: dict[str, Tensor],
    thresholds: Thresholds,
) -> Parity:
    inputs = inputs_of(model, tensors)
    with torch.inference_mode():
        reference = [output.float().numpy() for output in module.compute(*inputs)]
    feed = {tensor.name: value.numpy() for tensor, value in zip(model.inputs, inputs, strict=True)}
    names = [output.name for output in session.get_outputs()]
    exported = session.run(names, feed)
    identical = None
    if model.name == "extractors":
        identical = _decisions(reference, thresholds) == _decisions(exported, thresholds)
    return Parity(
        graph=model.name,
        batch=len(inputs[0]),
        # numpy's maximum keeps a NaN, which holds no bar.
        max_difference=float(
            np.max([np.abs(a - b).max() for a, b in zip(reference, exported, strict=True)])
        ),
        verdicts_identical=identical,
    )


def _decisions(
    outputs: list[npt.NDArray[np.float32]], thresholds: Thresholds
) -> list[tuple[list[int], list[int]]]:
    similarity, presence, boxes = outputs
    decisions = [
        decide(*row, image_is_blank=False, thresholds=thresholds)
        for row in zip(similarity, presence, boxes, strict=True)
    ]
    return [(found.organs.tolist(), found.verdicts.tolist()) for found in decisions]


def _session_before_rounding(path: Path) -> onnxruntime.InferenceSession:
    """A session whose outputs are the float32 tensors behind the graph's own outputs."""
    graph_model = onnx.load(str(path))
    graph = graph_model.graph
    producers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        producer = producers[output.name]
        if output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            if producer.op_type != "Cast":
                raise ReleaseError(
                    f"wanted {output.name} to be rounded by the graph's last node, got "
                    f"{producer.op_type}: look at organseg/networks/stages.py"
                )
            output.name = producer.input[0]
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return onnxruntime.InferenceSession(
        graph_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
