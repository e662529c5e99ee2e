"""The language model in fewer bits: what changes, and what does not."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn

from constructed import constructed_checkpoint
from export.language_model_report import kept_bytes
from organseg.contract import TINY, LanguageModelWeights
from organseg.contract.memory import kept_weight_bytes
from organseg.errors import EngineError
from organseg.networks.lora import merge_adapter
from organseg.networks.placement import place_on_one
from organseg.networks.quantisation import Int8Linear, quantise_linears, working_type
from organseg.networks.vision_language import VisionLanguage

bitsandbytes = pytest.importorskip("bitsandbytes", reason="organseg[quantised] is not installed")

QUANTISED = [each for each in LanguageModelWeights if each.is_quantised]
QUESTIONS = ["Which organ stores bile?", "Segment the liver and the spleen, please."]
LEAST_COSINE = {
    # 8 bits of mantissa or of a row's largest weight; 4 bits of a block's.
    LanguageModelWeights.FP32: 0.99999,
    LanguageModelWeights.FP16: 0.9999,
    LanguageModelWeights.BF16: 0.99,
    LanguageModelWeights.INT8: 0.99,
    LanguageModelWeights.INT4: 0.8,
}


@pytest.fixture(scope="module")
def original() -> VisionLanguage:
    vision_language = copy.deepcopy(constructed_checkpoint().organ_seg.vision_language)
    merge_adapter(vision_language)
    return vision_language


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    side = TINY.vision_language.image_size
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, side, side), dtype=torch.uint8, generator=generator)


def kept_in(original: VisionLanguage, weights: LanguageModelWeights) -> VisionLanguage:
    changed = copy.deepcopy(original).to(working_type(weights))
    place_on_one(changed, weights, "cpu")
    return changed


def cosine(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(one.float(), two.float(), dim=-1).min())


@pytest.mark.parametrize("weights", QUANTISED)
def test_the_decoders_linear_layers_are_quantised_and_nothing_else_is(original, weights):
    changed = kept_in(original, weights)
    kind = Int8Linear if weights is LanguageModelWeights.INT8 else bitsandbytes.nn.Linear4bit
    inside = [
        layer
        for layer in changed.language_model.layers.modules()
        if isinstance(layer, nn.Linear | Int8Linear)
    ]
    assert len(inside) == 7 * TINY.vision_language.depth
    assert all(isinstance(layer, kind) for layer in inside)
    outside = {
        name: tensor
        for name, tensor in changed.llava.state_dict().items()
        if "language_model.layers" not in name or "norm" in name
    }
    assert len(outside) > 50
    for name, tensor in outside.items():
        assert tensor.dtype in (torch.float16, torch.int64), name
        wanted = original.llava.state_dict()[name]
        assert torch.equal(tensor, wanted.to(tensor.dtype)), name


@pytest.mark.parametrize("weights", LanguageModelWeights)
@torch.inference_mode()
def test_states_are_near_those_of_float32(original, pixels, weights):
    wanted = original(pixels, QUESTIONS)
    got = kept_in(original, weights)(pixels, QUESTIONS)
    for one, two in zip(wanted, got, strict=True):
        assert two.dtype is working_type(weights)
        assert cosine(one, two) > LEAST_COSINE[weights]


@torch.inference_mode()
def test_fewer_bits_are_further_from_float32(original, pixels):
    wanted = original(pixels, QUESTIONS).patch_states
    order = [LanguageModelWeights.FP16, *QUANTISED]
    found = [cosine(wanted, kept_in(original, w)(pixels, QUESTIONS).patch_states) for w in order]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("weights", QUANTISED)
@torch.inference_mode()
def test_an_answer_does_not_depend_on_the_company_it_is_asked_in(original, pixels, weights):
    changed = kept_in(original, weights)
    together = changed(pixels, QUESTIONS)
    for index, question in enumerate(QUESTIONS):
        alone = changed(pixels[index : index + 1], [question])
        for one, two in zip(alone, together, strict=True):
            # Sums of another batch are rounded in another order, in float16.
            torch.testing.assert_close(one[0], two[index], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("weights", LanguageModelWeights)
def test_the_weights_take_the_bytes_that_the_contract_counts(original, weights):
    changed = kept_in(original, weights)
    # Beside weights there are the colours' means and deviations, rotary angles and batch norms'
    # running statistics: a few thousand numbers.
    difference = kept_bytes(changed) - kept_weight_bytes(TINY.vision_language, weights)
    assert 0 < difference < 20_000


@pytest.mark.parametrize("weights", QUANTISED)
def test_a_layer_is_quantised_once(original, weights):
    block = kept_in(original, weights).language_model.layers[0]
    before = list(block.modules())
    quantise_linears(block, weights, "cpu")
    assert list(block.modules()) == before


def test_eight_bits_are_a_127th_of_each_rows_largest():
    linear = nn.Linear(64, 8, bias=True).half()
    layer = Int8Linear(bitsandbytes, linear, "cpu")
    weight = layer.values.float() * layer.scales.float()
    step = linear.weight.abs().amax(dim=1, keepdim=True).float() / 127
    # Half a step of rounding, and the scale's own in float16.
    assert ((weight - linear.weight.float()).abs() <= 0.6 * step).all()
    assert layer.values.dtype is torch.int8
    states = torch.randn(3, 64).half()
    torch.testing.assert_close(layer(states), linear(states), rtol=0.02, atol=0.02)


def test_without_bitsandbytes_the_remedy_is_named(original, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(EngineError, match=r"organseg\[quantised\]"):
        kept_in(original, LanguageModelWeights.INT8)
    assert kept_in(original, LanguageModelWeights.BF16) is not original
