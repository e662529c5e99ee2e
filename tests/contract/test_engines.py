"""ONNX axes and TensorRT profiles, from the contract's bounds."""

from __future__ import annotations

import pytest

from organseg.contract import PRESETS, PROMPT_COUNTS, ModelKind, Preset, model_of, models_of
from organseg.contract.engines import BATCH, batch_axis, dynamic_axes, tensorrt_profile

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


@every_preset
def test_profiles_are_ordered_and_name_every_input_of_a_graph(preset: Preset) -> None:
    for model in models_of(preset):
        if model.kind is not ModelKind.GRAPH:
            continue
        profile = tensorrt_profile(preset, model)
        assert profile.keys() == {tensor.name for tensor in model.inputs}
        for tensor in model.inputs:
            shapes = profile[tensor.name]
            assert len(shapes.min) == len(shapes.opt) == len(shapes.max) == len(tensor.axes) + 1
            for low, usual, high in zip(shapes.min, shapes.opt, shapes.max, strict=True):
                assert 1 <= low <= usual <= high


@every_preset
def test_a_profile_spans_every_batch_and_every_prompt_count(preset: Preset) -> None:
    shapes = tensorrt_profile(preset, model_of(preset, "mask_decoder"))["prompt_boxes"]
    assert (shapes.min[0], shapes.max[0]) == (1, preset.max_batch)
    assert (shapes.min[1], shapes.max[1]) == (min(PROMPT_COUNTS), max(PROMPT_COUNTS))
    assert shapes.min[2] == shapes.max[2] == 4


@every_preset
def test_the_batch_is_always_dynamic_and_static_axes_never(preset: Preset) -> None:
    assert batch_axis(preset).max == preset.max_batch
    decoder = model_of(preset, "mask_decoder")
    assert dynamic_axes(decoder.tensor("prompt_boxes")) == {0: BATCH, 1: "prompts"}
    assert dynamic_axes(decoder.tensor("low_res_masks")) == {0: BATCH, 1: "prompts"}
    assert dynamic_axes(decoder.tensor("image_embeddings")) == {0: BATCH}
