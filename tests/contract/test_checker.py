"""The offline checker of configs against graphs: it agrees, or says each disagreement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    PRESETS,
    ModelKind,
    Platform,
    Preset,
    model_of,
    models_of,
)
from organseg.contract.checker import check_graph, disagreements
from organseg.contract.engines import dynamic_axes
from organseg.contract.pbtxt import config_text, model_config
from organseg.errors import ContractError

TINY = PRESETS["tiny"]
DECODER = model_of(TINY, "mask_decoder")
CONFIG = model_config(DECODER, TINY, Platform.ONNXRUNTIME)


def graph_of(preset: Preset, stage: str) -> Any:
    """A graph with exactly the signature that the contract declares (and one weight)."""
    model = model_of(preset, stage)

    def value(tensor: Any) -> Any:
        dynamic = dynamic_axes(tensor)
        shape = [dynamic.get(at, size) for at, size in enumerate((0, *tensor.shape()))]
        return helper.make_tensor_value_info(
            tensor.name, TensorProto.DataType.Value(tensor.dtype.onnx_name), shape
        )

    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1], [0.0])
    inputs = [value(tensor) for tensor in model.inputs]
    # Old exporters list weights among the inputs; Triton counts only those that are fed.
    inputs.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [1]))
    outputs = [value(tensor) for tensor in model.outputs]
    nodes = [helper.make_node("Identity", ["weight"], [output.name]) for output in outputs]
    graph = helper.make_graph(nodes, stage, inputs, outputs, [weight])
    graph_model = helper.make_model(graph)
    helper.set_model_props(graph_model, {CONTRACT_PARAMETER: CONTRACT_VERSION})
    return graph_model


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("platform", Platform)
def test_graphs_made_by_the_contract_agree_with_its_configs(
    preset: Preset, platform: Platform
) -> None:
    graphs = [model for model in models_of(preset) if model.kind is ModelKind.GRAPH]
    assert len(graphs) == 3
    for model in graphs:
        config = model_config(model, preset, platform)
        assert disagreements(config, graph_of(preset, model.name)) == []


def named(values: Any, name: str) -> Any:
    return next(value for value in values if value.name == name)


def dims(graph_model: Any, name: str) -> Any:
    graph = graph_model.graph
    return named([*graph.input, *graph.output], name).type.tensor_type.shape.dim


def rename_an_input(graph_model: Any) -> None:
    named(graph_model.graph.input, "prompt_boxes").name = "boxes"


def drop_an_output(graph_model: Any) -> None:
    graph_model.graph.output.remove(named(graph_model.graph.output, "mask_quality"))


def add_an_output(graph_model: Any) -> None:
    graph_model.graph.output.append(
        helper.make_tensor_value_info("extra", TensorProto.FLOAT, ["batch", 1])
    )


def change_a_type(graph_model: Any) -> None:
    output = named(graph_model.graph.output, "low_res_masks")
    output.type.tensor_type.elem_type = TensorProto.FLOAT


def drop_an_axis(graph_model: Any) -> None:
    del dims(graph_model, "mask_quality")[1]


def change_a_size(graph_model: Any) -> None:
    dims(graph_model, "image_embeddings")[1].dim_value = 256


def fix_a_dynamic_axis(graph_model: Any) -> None:
    dims(graph_model, "prompt_boxes")[1].dim_value = 13


def free_a_static_axis(graph_model: Any) -> None:
    dims(graph_model, "prompt_boxes")[2].dim_param = "corners"


def fix_the_batch(graph_model: Any) -> None:
    dims(graph_model, "mask_quality")[0].dim_value = 1


def drop_every_axis(graph_model: Any) -> None:
    del dims(graph_model, "mask_quality")[:]


def change_the_version(graph_model: Any) -> None:
    helper.set_model_props(graph_model, {CONTRACT_PARAMETER: "000000000000"})


def drop_the_version(graph_model: Any) -> None:
    del graph_model.metadata_props[:]


DISAGREEMENTS: list[tuple[Callable[[Any], None], list[str]]] = [
    (
        rename_an_input,
        [
            "input 'prompt_boxes': in the config, not in the graph",
            "input 'boxes': in the graph, not in the config",
        ],
    ),
    (drop_an_output, ["output 'mask_quality': in the config, not in the graph"]),
    (add_an_output, ["output 'extra': in the graph, not in the config"]),
    (change_a_type, ["output 'low_res_masks': type FP16 in the config, FLOAT in the graph"]),
    (
        drop_an_axis,
        ["output 'mask_quality': dimensions [-1] in the config, [] in the graph"],
    ),
    (
        change_a_size,
        [
            "input 'image_embeddings': dimensions [128, 32, 32] in the config, "
            "[256, 32, 32] in the graph"
        ],
    ),
    (
        fix_a_dynamic_axis,
        ["input 'prompt_boxes': dimensions [-1, 4] in the config, [13, 4] in the graph"],
    ),
    (
        free_a_static_axis,
        ["input 'prompt_boxes': dimensions [-1, 4] in the config, [-1, -1] in the graph"],
    ),
    (
        fix_the_batch,
        ["output 'mask_quality': wanted a dynamic batch axis first, the graph has [1, -1]"],
    ),
    (
        drop_every_axis,
        [
            "output 'mask_quality': wanted a dynamic batch axis first, the graph has []",
            "output 'mask_quality': dimensions [-1] in the config, [] in the graph",
        ],
    ),
    (change_the_version, [f"contract version: config {CONTRACT_VERSION}, graph 000000000000"]),
    (drop_the_version, [f"contract version: config {CONTRACT_VERSION}, graph None"]),
]


@pytest.mark.parametrize(
    ("plant", "sentences"), DISAGREEMENTS, ids=[plant.__name__ for plant, _ in DISAGREEMENTS]
)
def test_a_planted_disagreement_is_found_and_said(
    plant: Callable[[Any], None], sentences: list[str]
) -> None:
    graph_model = graph_of(TINY, "mask_decoder")
    plant(graph_model)
    assert disagreements(CONFIG, graph_model) == sentences


def test_a_file_that_agrees_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(graph_of(TINY, "mask_decoder"), path)
    check_graph(config_text(CONFIG), path)


def test_a_file_that_disagrees_is_refused_with_everything_found_and_the_remedy(
    tmp_path: Path,
) -> None:
    graph_model = graph_of(TINY, "mask_decoder")
    drop_an_output(graph_model)
    change_a_type(graph_model)
    path = tmp_path / "model.onnx"
    onnx.save(graph_model, path)
    with pytest.raises(ContractError, match="export the release again") as caught:
        check_graph(config_text(CONFIG), path)
    assert "mask_quality" in str(caught.value)
    assert "low_res_masks" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_only_the_signature_is_read_so_missing_weight_files_do_not_matter(tmp_path: Path) -> None:
    graph_model = graph_of(TINY, "mask_decoder")
    path = tmp_path / "model.onnx"
    big = helper.make_tensor("big", TensorProto.FLOAT, [512, 512], bytes(512 * 512 * 4), raw=True)
    graph_model.graph.initializer.append(big)
    onnx.save(graph_model, path, save_as_external_data=True, location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    check_graph(config_text(CONFIG), path)
