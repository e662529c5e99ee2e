"""Graphs beyond protobuf's two gigabytes, tried with a smaller limit."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.onnx_files import data_file, file_bytes, save_graph


def product(width: int = 64) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(width, width)).astype(np.float32)
    shape = numpy_helper.from_array(np.array([-1, width], dtype=np.int64), "shape")
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(weights, "w"), shape],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.eye(64, dtype=np.float32)})[0]


def test_weights_beyond_the_limit_lie_beside_the_graph_and_give_the_same(tmp_path):
    inside, outside = tmp_path / "inside.onnx", tmp_path / "outside.onnx"
    save_graph(product(), inside)
    save_graph(product(), outside, largest_bytes=10_000)
    assert not data_file(inside).exists()
    assert data_file(outside).stat().st_size >= 4 * 64 * 64
    assert outside.stat().st_size < 2_000
    assert file_bytes(outside) == outside.stat().st_size + data_file(outside).stat().st_size
    assert (run(inside) == run(outside)).all()
    # What is read again has its weights in it.
    again = onnx.load(str(outside))
    assert {len(each.raw_data) for each in again.graph.initializer} == {4 * 64 * 64, 16}


def test_a_graph_written_anew_leaves_no_old_weights_behind(tmp_path):
    path = tmp_path / "model.onnx"
    save_graph(product(), path, largest_bytes=10_000)
    save_graph(product(), path)
    assert not data_file(path).exists()
    assert len(run(path)) == 64


def test_an_invalid_graph_is_refused(tmp_path):
    graph = product()
    graph.graph.node[0].input[0] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        save_graph(graph, tmp_path / "model.onnx")
