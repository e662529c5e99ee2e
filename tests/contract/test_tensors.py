"""The contract's values: axes with bounds, data types and their names elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from organseg.contract import Axis, DataType, Tensor
from organseg.contract.tensors import static


@pytest.mark.parametrize(
    ("low", "opt", "high"), [(0, 1, 1), (2, 1, 3), (1, 4, 3), (3, 3, 2), (-1, -1, -1)]
)
def test_bounds_out_of_order_are_refused(low: int, opt: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"axis 'rows': wanted .* got {low}, {opt}, {high}"):
        Axis("rows", low, opt, high)


def test_a_static_axis_has_one_size_and_a_dynamic_one_is_minus_one_in_a_config() -> None:
    assert static("width", 7) == Axis("width", 7, 7, 7)
    assert static("width", 7).is_static
    assert static("width", 7).config_dim == 7
    assert not Axis("prompts", 1, 1, 13).is_static
    assert Axis("prompts", 1, 1, 13).config_dim == -1


def test_a_tensor_tells_its_shape_at_each_bound() -> None:
    tensor = Tensor("boxes", DataType.FP32, (Axis("prompts", 1, 2, 13), static("xyxy", 4)), "")
    assert tensor.config_dims == (-1, 4)
    assert tensor.shape("min") == (1, 4)
    assert tensor.shape("opt") == (2, 4)
    assert tensor.shape() == tensor.shape("max") == (13, 4)


def test_values_of_the_contract_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        static("width", 7).max = 9  # type: ignore[misc]


@pytest.mark.parametrize("dtype", DataType)
def test_every_data_type_means_the_same_in_numpy_triton_and_onnx(dtype: DataType) -> None:
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype
    from tritonclient.grpc import model_config_pb2 as pb
    from tritonclient.utils import triton_to_np_dtype

    assert np.dtype(triton_to_np_dtype(dtype.value)) == dtype.numpy
    assert pb.DataType.Value(dtype.config_name) != pb.TYPE_INVALID
    assert tensor_dtype_to_np_dtype(TensorProto.DataType.Value(dtype.onnx_name)) == dtype.numpy
