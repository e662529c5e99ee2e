"""The contract's counts of weights, against the modules themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from organseg.contract import LLAVA_MED_7B, PRESETS, Preset
from organseg.contract import parameters as counted
from organseg.networks.context_cache import default_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.segmenter import Segmenter
from organseg.networks.vision_language import build_llava

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


def weights_of(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def llava_without_memory(preset: Preset) -> nn.Module:
    with torch.device("meta"):
        return build_llava(preset.vision_language, image_token_id=5)


@every_preset
def test_the_vision_language_models_weights_are_counted_exactly(preset):
    size = preset.vision_language
    llava = llava_without_memory(preset)
    assert weights_of(llava.model.vision_tower) == counted.tower_parameters(size)
    assert weights_of(llava.model.multi_modal_projector) == counted.projector_parameters(size)
    assert weights_of(llava.model.language_model) == counted.language_model_parameters(size)
    assert weights_of(llava) == counted.vision_language_parameters(size)


@every_preset
def test_a_decoder_blocks_linear_layers_are_those_that_the_contract_lists(preset):
    block = llava_without_memory(preset).model.language_model.layers[0]
    linears = {
        name.rpartition(".")[2]: (layer.in_features, layer.out_features)
        for name, layer in block.named_modules()
        if isinstance(layer, nn.Linear)
    }
    assert linears == counted.decoder_linears(preset.vision_language)


@every_preset
def test_the_graph_stages_weights_are_counted_exactly(preset):
    with torch.device("meta"):
        segmenter = Segmenter(preset.segmenter)
    encoder = counted.image_encoder_parameters(preset.segmenter)
    assert weights_of(segmenter.image_encoder) == encoder
    decoder = counted.mask_decoder_parameters(preset.segmenter)
    assert weights_of(segmenter.mask_decoder) == decoder
    heads = Extractors(preset.extractors, preset.vision_language, default_context_cache())
    wanted = counted.extractor_parameters(preset.extractors, preset.vision_language)
    assert weights_of(heads) == wanted


def test_llava_med_has_seven_and_a_half_thousand_million_weights():
    assert counted.vision_language_parameters(LLAVA_MED_7B.vision_language) == 7_566_743_552
