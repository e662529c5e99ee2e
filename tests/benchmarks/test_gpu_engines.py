"""Every engine gives what torch gives on the CPU, for every graph stage of `tiny`."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.gpu import tensorrt_engine
from benchmarks.gpu.device import CudaDevice, Device
from benchmarks.gpu.engines import Engine, StageGraph, TorchStage, empty_outputs, random_inputs
from benchmarks.gpu.graphs import widened
from benchmarks.gpu.models import random_organ_seg
from benchmarks.gpu.options import engines_named
from benchmarks.gpu.registry import ENGINES, ENGINES_OF_DEVICE
from constructed import constructed_checkpoint
from export.precision import Precision
from export.samples import flow_inputs
from export.tensorrt_plans import Plan
from organseg.contract import TINY, graph_stages
from organseg.errors import EngineError

STAGES = [model.name for model in graph_stages(TINY)]
# Outputs in half precision: a unit in their last place is a thousandth of them.
CLOSE = 2e-3


def flow_tensors(stage: StageGraph, batch: int) -> dict[str, torch.Tensor]:
    """The stage's inputs as the flow makes them, in the contract's types."""
    tensors = flow_inputs(constructed_checkpoint().organ_seg, batch)
    return {
        tensor.name: tensors[tensor.name].to(getattr(torch, str(tensor.dtype.numpy)))
        for tensor in stage.model.inputs
    }


def assert_gives_what_torch_gives(engine: Engine, stage: StageGraph, device: Device) -> None:
    """At two batch sizes, with two boxes an image."""
    for batch in (1, 3):
        inputs = flow_tensors(stage, batch)
        with torch.no_grad():
            reference = stage.module(*inputs.values())
        call = engine.bind({name: value.to(device.name) for name, value in inputs.items()})
        with torch.no_grad():
            call()
            outputs = call()
        device.synchronise()
        assert list(outputs) == [tensor.name for tensor in stage.model.outputs]
        for wanted, got in zip(reference, outputs.values(), strict=True):
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            share = (got.cpu().float() - wanted.float()).abs().max() / wanted.abs().max()
            assert share <= CLOSE


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("engine", ["torch", "onnxruntime-cpu"])
def test_an_engine_on_the_cpu_gives_what_torch_gives(cpu, tiny_stages, name, engine):
    stage = tiny_stages[name]
    assert_gives_what_torch_gives(ENGINES[engine](cpu, stage), stage, cpu)


@pytest.mark.gpu
@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("engine", ENGINES_OF_DEVICE["cuda"])
def test_an_engine_on_a_gpu_gives_what_torch_gives_on_the_cpu(
    cuda: CudaDevice, tiny_stages, name, engine
):
    stage = tiny_stages[name]
    on_gpu = replace(stage, module=_on(cuda, stage))
    try:
        loaded = ENGINES[engine](cuda, on_gpu)
    except EngineError as error:
        pytest.skip(str(error))
    assert_gives_what_torch_gives(loaded, stage, cuda)
    cuda.release_memory()


def _on(device: Device, stage: StageGraph):
    import copy

    return copy.deepcopy(stage.module).to(device.name)


class AddressedEngine:
    """Does what a TensorRT engine does, with ONNX Runtime: it knows nothing but addresses."""

    def __init__(self, stage: StageGraph) -> None:
        self.stage = stage
        self.session = onnxruntime.InferenceSession(
            str(stage.graph), providers=["CPUExecutionProvider"]
        )
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def create_execution_context(self) -> AddressedEngine:
        return self

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return shape[0] <= self.stage.preset.max_batch

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        model = self.stage.model
        given = {
            tensor.name: self._at(tensor.name, self.shapes[tensor.name], tensor.dtype.numpy)
            for tensor in model.inputs
        }
        for tensor, value in zip(model.outputs, self.session.run(None, given), strict=True):
            self._at(tensor.name, value.shape, tensor.dtype.numpy)[...] = value
        return True

    def _at(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype=dtype).reshape(shape)


@pytest.fixture
def addressed(monkeypatch, tiny_stages):
    """TensorRT whose engines are `AddressedEngine`s of the stage that is asked for."""
    asked: list[StageGraph] = []

    def runtime(logger: object) -> SimpleNamespace:
        return SimpleNamespace(deserialize_cuda_engine=lambda _: AddressedEngine(asked[-1]))

    logger = SimpleNamespace(ERROR=2)
    trt = SimpleNamespace(
        Logger=lambda level: None, Runtime=runtime, __version__="10.9.0", name=logger
    )
    trt.Logger = type("Logger", (), {"ERROR": 2, "__init__": lambda self, level: None})
    monkeypatch.setattr(tensorrt_engine, "load_library", lambda name: trt)

    def compiled(library, graph, profile) -> Plan:
        asked.extend(stage for stage in tiny_stages.values() if stage.graph == graph)
        assert set(profile) == {tensor.name for tensor in asked[-1].model.inputs}
        return Plan(engine=b"engine", timing_cache=b"", log=())

    monkeypatch.setattr(tensorrt_engine, "compile_plan", compiled)
    return trt


@pytest.mark.parametrize("name", STAGES)
def test_a_tensorrt_engine_reads_and_writes_by_the_contracts_shapes_and_types(
    addressed, cpu, tiny_stages, name
):
    stage = tiny_stages[name]
    assert_gives_what_torch_gives(tensorrt_engine.TensorRtEngine(cpu, stage), stage, cpu)


def test_a_batch_that_the_profile_does_not_hold_is_refused(addressed, cpu, tiny_stages):
    stage = tiny_stages["extractors"]
    engine = tensorrt_engine.TensorRtEngine(cpu, stage)
    inputs = random_inputs(stage.model, TINY.max_batch + 1, 1, "cpu")
    with pytest.raises(EngineError, match=r"answer_state of \(9, 256\).*profile"):
        engine.bind(inputs)


def test_an_engine_that_does_not_load_is_named(addressed, monkeypatch, cpu, tiny_stages):
    refusing = SimpleNamespace(deserialize_cuda_engine=lambda _: None)
    monkeypatch.setattr(addressed, "Runtime", lambda logger: refusing)
    with pytest.raises(EngineError, match=r"engine of extractors loaded, TensorRT 10\.9\.0"):
        tensorrt_engine.TensorRtEngine(cpu, tiny_stages["extractors"])


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this build of ONNX Runtime has the provider",
)
def test_a_provider_that_is_not_there_is_named_with_the_remedy(cpu, tiny_stages):
    with pytest.raises(EngineError, match=r"wanted ONNX Runtime with CUDA.*onnxruntime-gpu"):
        ENGINES["onnxruntime-cuda"](cpu, tiny_stages["extractors"])


def test_a_provider_that_gives_way_to_another_is_not_taken_for_it(monkeypatch, cpu, tiny_stages):
    engine = ENGINES["onnxruntime-cuda"]
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(engine, "_preload", lambda self: None)
    # What ONNX Runtime does where CUDA's libraries do not load.
    monkeypatch.setattr(engine, "_providers", lambda self: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="ONNX Runtime took CPUExecutionProvider"):
        engine(cpu, tiny_stages["extractors"])


def test_tensorrts_provider_is_given_the_contracts_profile(tiny_stages):
    engine = object.__new__(ENGINES["onnxruntime-tensorrt"])
    engine.stage = replace(tiny_stages["mask_decoder"], precision=Precision.FP16)
    options = engine._options()
    assert options["trt_profile_max_shapes"] == ("image_embeddings:8x128x32x32,prompt_boxes:8x13x4")
    assert options["trt_profile_min_shapes"] == "image_embeddings:1x128x32x32,prompt_boxes:1x1x4"
    assert options["trt_fp16_enable"] == "1"
    assert "trt_bf16_enable" not in options


def test_half_precision_on_torch_changes_products_and_not_types(cpu, tiny_stages):
    stage = tiny_stages["image_encoder"]
    inputs = flow_tensors(stage, 1)
    with torch.no_grad():
        (whole,), (half,) = (
            TorchStage(cpu, stage.module, precision)(*inputs.values())
            for precision in (Precision.FP32, Precision.BF16)
        )
    assert half.dtype is whole.dtype
    difference = (half.float() - whole.float()).abs().max() / whole.abs().max()
    assert 1e-5 < difference < 0.1


def test_made_up_inputs_fit_the_contract_and_boxes_are_in_order(tiny_stages):
    model = tiny_stages["mask_decoder"].model
    inputs = random_inputs(model, 2, 4, "cpu")
    boxes = inputs["prompt_boxes"]
    assert boxes.shape == (2, 4, 4)
    assert (boxes[..., :2] <= boxes[..., 2:]).all()
    outputs = empty_outputs(model, inputs)
    assert outputs["low_res_masks"].shape == (2, 4, 128, 128)
    assert outputs["low_res_masks"].dtype is torch.float16


def test_engines_are_built_for_the_largest_batch_that_is_timed():
    assert widened(TINY, 16).max_batch == 16
    assert widened(TINY, 1) == TINY


def test_a_preset_that_the_memory_does_not_hold_is_refused_before_it_is_made(monkeypatch, cpu):
    monkeypatch.setattr(type(cpu), "free_memory_bytes", lambda self: 10_000_000)
    with pytest.raises(EngineError, match=r"free GPU memory for the preset tiny, got 0\.0 GB"):
        random_organ_seg(TINY, cpu)


def test_engines_are_those_of_the_device_unless_named():
    assert engines_named(None, "cpu") == ENGINES_OF_DEVICE["cpu"]
    assert engines_named(["tensorrt"], "cpu") == ("tensorrt",)
    with pytest.raises(EngineError, match=r"among torch, .*got 'openvino'"):
        engines_named(["openvino"], "cuda")
