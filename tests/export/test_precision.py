"""Precision as policy: what works in half precision, and what never does."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from constructed import constructed_checkpoint
from export.__main__ import PRECISIONS
from export.parity import BATCHES, RELATIVE_TOLERANCE, compare_graph, cpu_session
from export.precision import Precision, executable_on_cpu, lower
from export.samples import flow_inputs
from organseg.contract import TINY, ModelKind, Platform, model_of, models_of
from organseg.contract.checker import check_graph
from organseg.contract.pbtxt import render_configs
from organseg.errors import ReleaseError
from organseg.networks.stages import graph_modules

GRAPHS = [model.name for model in models_of(TINY) if model.kind is ModelKind.GRAPH]
HALVES = [Precision.BF16, Precision.FP16]
NEVER_HALF = ("LayerNormalization", "Softmax", "Einsum", "Sin", "Cos", "Pow", "Sqrt", "Exp")


def graph_file(release: Path, name: str) -> Path:
    return release / "models" / name / "1" / "model.onnx"


def working_types(model: onnx.ModelProto) -> dict[str, set[int]]:
    """Which element types each operator of a graph works on: the type of its first input."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    found: dict[str, set[int]] = {}
    for node in inferred.node:
        if node.input and node.input[0] in types:
            found.setdefault(node.op_type, set()).add(types[node.input[0]])
    return found


@pytest.fixture(scope="module")
def float32_graphs(release):
    return {name: onnx.load(str(graph_file(release, name))) for name in GRAPHS}


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", GRAPHS)
def test_products_are_half_and_what_is_sensitive_is_not(float32_graphs, name, precision):
    lowered = lower(float32_graphs[name], precision)
    onnx.checker.check_model(lowered, full_check=True)
    types = working_types(lowered)
    assert precision.element_type in types["MatMul"]
    for operator in NEVER_HALF:
        assert types.get(operator, {TensorProto.FLOAT}) == {TensorProto.FLOAT}, operator


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_changes_at_a_stages_edges(float32_graphs, name, precision, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(lower(float32_graphs[name], precision), str(path))
    check_graph(render_configs(TINY, Platform.TENSORRT)[name], path)


def test_the_graph_that_is_lowered_stays_as_it_is(float32_graphs):
    graph = float32_graphs["mask_decoder"]
    before = graph.SerializeToString()
    assert lower(graph, Precision.FP32).SerializeToString() == before
    lower(graph, Precision.FP16)
    assert graph.SerializeToString() == before


def test_half_precision_halves_the_file(float32_graphs):
    for name, graph in float32_graphs.items():
        whole, half = graph.ByteSize(), lower(graph, Precision.FP16).ByteSize()
        assert half < 0.75 * whole, name


def types_of_weights(graph: onnx.ModelProto, part: str) -> set[int]:
    return {each.data_type for each in graph.graph.initializer if part in each.name}


def test_the_neck_and_the_cosines_stay_float32(float32_graphs):
    encoder = lower(float32_graphs["image_encoder"], Precision.FP16)
    assert types_of_weights(encoder, ".neck.") == {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 in types_of_weights(encoder, "patch_embed.proj.weight")
    cache = constructed_checkpoint().cache.organ_prototypes
    extractors = lower(float32_graphs["extractors"], Precision.FP16)
    kept = [
        numpy_helper.to_array(each)
        for each in extractors.graph.initializer
        if each.data_type == TensorProto.FLOAT
    ]
    assert any(array.shape == cache.T.shape and (array == cache.T).all() for array in kept)


def test_a_box_is_told_by_its_sine_in_float32(float32_graphs):
    lowered = lower(float32_graphs["mask_decoder"], Precision.FP16).graph
    producers = {name: node for node in lowered.node for name in node.output}
    waiting = [name for node in lowered.node if node.op_type == "Sin" for name in node.input]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in producers:
            seen.add(producers[name].op_type)
            waiting += producers[name].input
    assert "MatMul" in seen
    assert "Cast" not in seen


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, each) for name in GRAPHS for each in HALVES if each.of_stage(name) is each],
)
def test_a_lowered_graph_rounds_and_stays_near_torch(release, name, precision, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(lower(onnx.load(str(graph_file(release, name))), precision), str(path))
    checkpoint = constructed_checkpoint()
    records = compare_graph(
        path,
        graph_modules(checkpoint.organ_seg)[name],
        model_of(TINY, name),
        [flow_inputs(checkpoint.organ_seg, batch) for batch in BATCHES],
        checkpoint.cache.thresholds,
        precision,
    )
    for record in records:
        assert 1e-5 < record.relative_difference <= RELATIVE_TOLERANCE
        assert record.holds


def test_bfloat16_rounds_both_operands_and_accumulates_in_float32():
    generator = np.random.default_rng(0)
    rows, weights = (
        generator.normal(size=shape).astype(np.float32) for shape in ((3, 64), (64, 5))
    )
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    product.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'layer', 'matmul']")
    graph = helper.make_graph(
        [product],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    lowered = executable_on_cpu(lower(model, Precision.BF16), Precision.BF16)
    (got,) = cpu_session(lowered, Precision.BF16).run(None, {"x": rows})

    def rounded(values):
        return values.astype(ml_dtypes.bfloat16).astype(np.float32)

    np.testing.assert_array_equal(got, rounded(rounded(rows) @ rounded(weights)))
    assert np.abs(got - rows @ weights).max() > 1e-3


def test_a_product_that_does_not_say_where_it_is_from_stays_float32(float32_graphs):
    graph = onnx.ModelProto()
    graph.CopyFrom(float32_graphs["image_encoder"])
    for node in graph.graph.node:
        node.ClearField("metadata_props")
    assert working_types(lower(graph, Precision.FP16))["MatMul"] == {TensorProto.FLOAT}


def test_what_is_only_rounded_for_a_product_is_not_rounded_for_others(float32_graphs):
    lowered = lower(float32_graphs["mask_decoder"], Precision.BF16).graph
    producers = {name: node for node in lowered.node for name in node.output}
    (first, _) = (node for node in lowered.node if node.op_type == "ConvTranspose")
    node = producers[first.input[0]]
    while node.op_type in ("Transpose", "Reshape"):
        node = producers[node.input[0]]
    # The upscaling of the image's states stays float32 in bfloat16, and so does what it reads.
    assert node.op_type == "LayerNormalization"


def test_weights_beyond_float16_are_refused_by_name(float32_graphs):
    graph = onnx.ModelProto()
    graph.CopyFrom(float32_graphs["image_encoder"])
    name = "segmenter.image_encoder.patch_embed.proj.weight"
    (weight,) = (each for each in graph.graph.initializer if each.name == name)
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] = -1e5
    weight.CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(ReleaseError, match=rf"{name} goes to 1e\+05: choose bf16"):
        lower(graph, Precision.FP16)
    assert lower(graph, Precision.BF16)


def test_the_command_offers_every_precision():
    assert tuple(precision.value for precision in Precision) == PRECISIONS


def test_a_release_in_bfloat16_has_its_image_encoder_in_it_alone():
    assert {name: Precision.BF16.of_stage(name).value for name in GRAPHS} == {
        "image_encoder": "bf16",
        "extractors": "fp32",
        "mask_decoder": "fp32",
    }
    assert {Precision.FP16.of_stage(name) for name in GRAPHS} == {Precision.FP16}
