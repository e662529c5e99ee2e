"""Precision as policy: which numbers of a graph are half precision, and which never are.

Matrix products with their biases and the reshaping between them work in bfloat16 or float16, in
float16 convolutions too. Everything else stays float32: LayerNorm, softmax, additions of residuals
and of relative positions, SAM's neck, the sine and cosine that tell a box, and the cosines that an
answer is decided by. The graph says so itself, by casts and types, so a strongly typed TensorRT
network has nothing left to choose. What travels between stages is not changed by it.

Why so, and why a pass of our own: docs/decisions/0014-precision-in-the-graph.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.onnx_files import save_graph
from organseg.errors import ReleaseError


class Precision(Enum):
    """What a graph's products work in."""

    FP32 = "fp32"
    """float32 throughout."""
    BF16 = "bf16"
    """bfloat16: float32's range with 8 bits of precision."""
    FP16 = "fp16"
    """float16: 11 bits of precision, overflows beyond 65,504."""

    @property
    def element_type(self) -> int:
        """ONNX's number for the type."""
        numbers = {
            Precision.FP32: TensorProto.FLOAT,
            Precision.BF16: TensorProto.BFLOAT16,
            Precision.FP16: TensorProto.FLOAT16,
        }
        return int(numbers[self])

    def of_stage(self, name: str) -> Precision:
        """What one stage of a release in this precision works in.

        With bfloat16 the image encoder alone, where nearly all the work is: its rounding in the
        extractors moves a box, in the mask decoder an edge, further than users may see.
        """
        return Precision.FP32 if self is Precision.BF16 and name != "image_encoder" else self


_PRODUCTS = {
    Precision.BF16: frozenset({"MatMul", "Gemm"}),
    Precision.FP16: frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"}),
}
"""Operators that work in the half type. ONNX has bfloat16 convolutions only from opset 22 on.
A product that does not say which module it comes from stays float32."""

_LAYOUT = frozenset(
    {
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Expand",
        "Gather",
        "Identity",
    }
)
"""Operators that move numbers and change none: they follow the type of what they move."""

_FLOAT32_SCOPES = (re.compile(r"(^|\.)neck($|\.)"), re.compile(r"^extractors$"))
"""Modules whose own products stay float32: SAM's neck; the cosines with the context cache."""

_LARGEST_FLOAT16 = 65_504.0

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata in which torch's exporter names the modules that a node comes from, outermost first."""


def lower(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The graph in a precision; the one given is not changed.

    Args:
        model: a float32 graph as `export.graphs` writes it, its names of scopes in place.
        precision: what its products are to work in.

    Raises:
        ReleaseError: a weight is beyond float16's range.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    if precision is not Precision.FP32:
        _Lowering(lowered.graph, precision).run()
    return lowered


def lower_file(source: Path, precision: Precision, target: Path) -> None:
    """Writes a float32 graph's file in a precision, to another place or its own; see `lower`."""
    save_graph(lower(onnx.load(str(source)), precision), target)


def executable_on_cpu(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """A lowered graph's numbers in one that ONNX Runtime runs on a CPU.

    It has no bfloat16 kernels there, and does float16 in float32 without the rounding between.
    Here every node that works in the half type gets its inputs widened and its outputs rounded:
    products accumulate in float32, as they do on a GPU.
    """
    narrow, wide = precision.element_type, TensorProto.FLOAT
    if precision is Precision.FP32:
        return model
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == narrow}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast" or not halves.intersection(node.input):
            nodes.append(node)
            if node.op_type == "Cast" and _cast_to(node) == narrow:
                halves.add(node.output[0])
            continue
        for index, name in enumerate(node.input):
            if name in halves:
                node.input[index] = f"{name}.wide.{len(nodes)}"
                nodes.append(_cast(name, node.input[index], wide))
        outputs = list(node.output)
        node.output[:] = [f"{name}.unrounded" for name in outputs]
        nodes.append(node)
        nodes += [_cast(f"{name}.unrounded", name, narrow) for name in outputs]
        halves.update(outputs)
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("value_info")
    return rewritten


class _Lowering:
    """Walks a graph once, in its order, and keeps the half-precision twin of every tensor."""

    def __init__(self, graph: onnx.GraphProto, precision: Precision) -> None:
        self._graph, self._type = graph, precision.element_type
        self._floats = {
            tensor.name: tensor
            for tensor in graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }
        self._halves: dict[str, str] = {}
        self._computed_in_half: set[str] = set()
        self._nodes: list[NodeProto] = []
        self._made: list[TensorProto] = []
        positions = _before_sines(graph.node)
        self._products = {
            node.output[0]
            for node in graph.node
            if node.op_type in _PRODUCTS[precision]
            and node.output[0] not in positions
            and not _stays_float32(node)
        }

    def run(self) -> None:
        """Rewrites the graph in place."""
        graph = self._graph
        for node in list(graph.node):
            if node.output[0] in self._products or self._is_bias(node):
                self._work_in_half(node, range(len(node.input)))
            elif node.op_type in _LAYOUT and node.input[0] in self._computed_in_half:
                self._work_in_half(node, range(1))
            else:
                self._nodes.append(node)
        nodes = _needed(self._nodes, {output.name for output in graph.output})
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in (*graph.initializer, *self._made) if tensor.name in used]
        graph.ClearField("node")
        graph.node.extend(nodes)
        graph.ClearField("initializer")
        graph.initializer.extend(kept)
        graph.ClearField("value_info")

    def _is_bias(self, node: NodeProto) -> bool:
        """Whether a node adds a constant to what a product has just made."""
        if node.op_type != "Add":
            return False
        made = [name for name in node.input if name in self._products]
        return len(made) == 1 and any(name in self._floats for name in node.input)

    def _work_in_half(self, node: NodeProto, places: Iterable[int]) -> None:
        for place in places:
            node.input[place] = self._half_of(node.input[place])
        outputs = list(node.output)
        node.output[:] = [self._twin(name) for name in outputs]
        self._nodes.append(node)
        self._computed_in_half.update(outputs)
        # Whoever still needs float32 reads these; those that nobody reads are taken out again.
        for name in outputs:
            self._nodes.append(_cast(self._halves[name], name, TensorProto.FLOAT))

    def _half_of(self, name: str) -> str:
        """The tensor's half-precision twin, made where there is none."""
        if not name or name in self._halves:
            return self._halves.get(name, name)
        twin = self._twin(name)
        if name in self._floats:
            self._made.append(_rounded(self._floats[name], twin, self._type))
        else:
            self._nodes.append(_cast(name, twin, self._type))
        return twin

    def _twin(self, name: str) -> str:
        self._halves[name] = f"{name}.half"
        return self._halves[name]


def _stays_float32(node: NodeProto) -> bool:
    """Whether the policy keeps a product in float32 by the module that it comes from."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    if scopes is None:
        return True
    # The last name is the operation's own.
    modules = [name for name in ast.literal_eval(scopes)[:-1] if name]
    neck, cosines = _FLOAT32_SCOPES
    return any(neck.search(name) for name in modules) or bool(
        modules and cosines.search(modules[-1])
    )


def _before_sines(nodes: Iterable[NodeProto]) -> set[str]:
    """Every tensor that a sine or cosine is computed from."""
    producers = {name: node for node in nodes for name in node.output}
    waiting = [
        name for node in producers.values() if node.op_type in ("Sin", "Cos") for name in node.input
    ]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and name in producers:
            found.add(name)
            waiting += producers[name].input
    return found


def _needed(nodes: list[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """The nodes, in order, that something wanted depends on."""
    wanted = set(wanted)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _rounded(tensor: TensorProto, name: str, element_type: int) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    dtype = helper.tensor_dtype_to_np_dtype(element_type)
    if element_type == TensorProto.FLOAT16 and np.abs(values).max(initial=0.0) > _LARGEST_FLOAT16:
        raise ReleaseError(
            f"wanted weights that float16 can hold, {tensor.name} goes to "
            f"{np.abs(values).max():.3g}: choose bf16"
        )
    return numpy_helper.from_array(np.ascontiguousarray(values.astype(dtype)), name)


def _cast(source: str, target: str, element_type: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=element_type)


def _cast_to(node: NodeProto) -> int:
    return int(next(entry.i for entry in node.attribute if entry.name == "to"))
