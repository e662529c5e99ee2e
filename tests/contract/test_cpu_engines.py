"""The table of CPU engines."""

from __future__ import annotations

import pytest

from organseg.contract import (
    MEDSAM,
    PRESETS,
    TINY,
    CpuEngine,
    ModelKind,
    Platform,
    deployment_of,
    models_of,
)
from organseg.contract.cpu_engines import (
    ENGINES_PARAMETER,
    ROUNDED_STAGES,
    allowed,
    engines_of,
    engines_text,
    parse_engines,
)
from organseg.contract.pbtxt import model_config
from organseg.errors import ContractError


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_heavy_stage_on_a_cpu_has_an_engine_of_every_cpu_and_nothing_else_has_engines(preset):
    for model in models_of(preset):
        for platform in Platform:
            engines = deployment_of(preset, platform, model).engines
            if model.kind is ModelKind.GRAPH and platform is Platform.PYTHON:
                assert CpuEngine.ONNXRUNTIME in engines
                assert len(set(engines)) == len(engines)
            elif model.name == "llava_med" and platform is Platform.PYTHON:
                # At full size an engine's second copy of the weights would take 28 GiB.
                both = (CpuEngine.OPENVINO, CpuEngine.TORCH)
                assert engines == (() if preset.name == "llava-med-7b" else both)
            else:
                assert engines == ()


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_only_stages_that_may_be_rounded_are_rounded(preset):
    assert {"image_encoder"} == ROUNDED_STAGES
    for model in models_of(preset):
        engines = engines_of(model)
        assert engines == tuple(dict.fromkeys(allowed(each, model.name) for each in engines))


def test_the_image_encoder_alone_is_rounded_where_the_cpu_can():
    rounded = (CpuEngine.OPENVINO_BF16, CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)
    for model in models_of(TINY):
        first = engines_of(model)[:1]
        assert (engines_of(model) == rounded) is (model.name == "image_encoder")
        assert (first == (CpuEngine.OPENVINO_BF16,)) is (model.name == "image_encoder")


def test_a_stage_that_may_not_be_rounded_gets_the_same_engine_in_float32():
    assert allowed(CpuEngine.OPENVINO_BF16, "mask_decoder") is CpuEngine.OPENVINO
    assert allowed(CpuEngine.OPENVINO_BF16, "image_encoder") is CpuEngine.OPENVINO_BF16
    assert allowed(CpuEngine.ONNXRUNTIME, "mask_decoder") is CpuEngine.ONNXRUNTIME
    assert allowed(CpuEngine.OPENVINO_BF16, "llava_med") is CpuEngine.OPENVINO


def test_torch_stands_in_for_onnx_runtime_where_there_is_no_graph():
    assert allowed(CpuEngine.ONNXRUNTIME, "llava_med") is CpuEngine.TORCH


def test_engines_come_back_from_their_text_in_order():
    engines = (CpuEngine.OPENVINO_BF16, CpuEngine.ONNXRUNTIME)
    assert engines_text(engines) == "openvino-bf16,onnxruntime"
    assert parse_engines(engines_text(engines)) == engines


@pytest.mark.parametrize("text", ["", "tensorrt", "openvino,", "openvino, onnxruntime"])
def test_an_unknown_engine_is_named_with_those_there_are(text):
    with pytest.raises(ContractError, match=r"onnxruntime, openvino, openvino-bf16, torch, got"):
        parse_engines(text)


@pytest.mark.parametrize("platform", Platform)
def test_configs_say_the_engines_of_python_graphs_alone(platform):
    for model in models_of(MEDSAM):
        parameters = model_config(model, MEDSAM, platform).parameters
        wanted = engines_text(deployment_of(MEDSAM, platform, model).engines)
        assert (ENGINES_PARAMETER in parameters) == bool(wanted)
        if wanted:
            assert parameters[ENGINES_PARAMETER].string_value == wanted
