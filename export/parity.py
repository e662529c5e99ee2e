"""Compares an exported graph with the torch module that it came from.

Half-precision outputs are compared before they are rounded: the float32 tensor that the last
cast reads is made an output of the graph in memory. Rounding may turn a difference of 1e-7 into
one unit of half precision, which says nothing about the export.

A graph whose products work in half precision is held against the same float32 module, by its
difference in relation to the largest value: what no user can tell is judged by `export.acceptance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor

from export.precision import Precision, executable_on_cpu
from export.samples import inputs_of
from organseg.contract import Model
from organseg.errors import ReleaseError
from organseg.networks.gate import Thresholds, decide
from organseg.networks.stages import GraphModule

TOLERANCE = 1e-4
"""Largest absolute difference between float32 torch and float32 ONNX Runtime."""
RELATIVE_TOLERANCE = 0.1
"""Largest `relative_difference` of a graph in half precision: what overflows or takes a wrong
operand is off by one or more; whether users could tell is for `export.acceptance` to say."""
BATCHES = (1, 3)
"""Batch sizes that are compared: alone, and a number no kernel is tuned for."""


@dataclass(frozen=True)
class Parity:
    """One comparison of a graph with torch."""

    graph: str
    """The stage."""
    batch: int
    """How many requests were joined."""
    precision: str
    """What the graph's products work in: `fp32`, `bf16` or `fp16`."""
    max_difference: float
    """Largest absolute difference over all outputs."""
    relative_difference: float
    """The same as a share of each output's largest value, or of one where that is smaller."""
    verdicts_identical: bool | None
    """For `extractors`: whether the gate decides the same on both; None for other stages."""

    @property
    def holds(self) -> bool:
        """Whether the graph may be released."""
        if self.precision != Precision.FP32.value:
            return self.relative_difference <= RELATIVE_TOLERANCE
        return self.max_difference <= TOLERANCE and self.verdicts_identical is not False


def compare_graph(
    path: Path,
    module: GraphModule,
    model: Model,
    samples: Sequence[dict[str, Tensor]],
    thresholds: Thresholds,
    precision: Precision = Precision.FP32,
) -> list[Parity]:
    """Runs graph and module on the same inputs, one comparison per batch of `samples`."""
    graph = executable_on_cpu(onnx.load(str(path)), precision)
    _expose_unrounded(graph.graph)
    session = cpu_session(graph, precision)
    return [_compare(session, module, model, tensors, thresholds, precision) for tensors in samples]


def cpu_session(graph: onnx.ModelProto, precision: Precision) -> onnxruntime.InferenceSession:
    """A session on the CPU that rounds wherever the graph does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if precision is not Precision.FP32:
        # Optimised, casts there and back would be taken out.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def require_parity(records: list[Parity]) -> None:
    """Raises `ReleaseError` that lists the comparisons that do not hold."""
    broken = [record for record in records if not record.holds]
    if broken:
        listed = ", ".join(
            f"{r.graph} at batch {r.batch} in {r.precision}: {r.max_difference:.1e}"
            f" ({r.relative_difference:.1e} of the largest value)"
            f"{' and other verdicts' if r.verdicts_identical is False else ''}"
            for r in broken
        )
        raise ReleaseError(
            f"wanted graphs within {TOLERANCE:g} of torch with the same verdicts, in half "
            f"precision within the share that export/parity.py grants, got {listed}: "
            "nothing was released; report it with the versions of torch and onnxruntime"
        )


def cpu_sessions(
    graphs: Mapping[str, tuple[Path, Precision]],
) -> dict[str, onnxruntime.InferenceSession]:
    """A session for each stage's graph, which is in the precision given with it."""
    return {
        name: cpu_session(executable_on_cpu(onnx.load(str(path)), precision), precision)
        for name, (path, precision) in graphs.items()
    }


def _compare(
    session: onnxruntime.InferenceSession,
    module: GraphModule,
    model: Model,
    tensors: dict[str, Tensor],
    thresholds: Thresholds,
    precision: Precision,
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
    pairs = list(zip(reference, exported, strict=True))
    differences = [np.abs(wanted - got).max() for wanted, got in pairs]
    shares = [
        difference / max(1.0, np.abs(wanted).max())
        for difference, (wanted, _) in zip(differences, pairs, strict=True)
    ]
    return Parity(
        graph=model.name,
        batch=len(inputs[0]),
        precision=precision.value,
        # numpy's maximum keeps a NaN, which holds no bar.
        max_difference=float(np.max(differences)),
        relative_difference=float(np.max(shares)),
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


def _expose_unrounded(graph: onnx.GraphProto) -> None:
    """Makes the float32 tensors behind the graph's own outputs its outputs, in place."""
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
