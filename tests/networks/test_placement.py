"""Where the language model is put: one device, several, or none that has room."""

from __future__ import annotations

import copy

import pytest
import torch

from constructed import constructed_checkpoint
from organseg.contract import LLAVA_MED_7B, TINY, LanguageModelWeights
from organseg.errors import EngineError
from organseg.networks.build import stand_in_tokenizer
from organseg.networks.lora import merge_adapter
from organseg.networks.placement import (
    BLOCKS,
    USABLE,
    device_for,
    memory_limits,
    place_on_one,
    plan,
    spread,
    visible_gpus,
)
from organseg.networks.prompt import PromptBuilder
from organseg.networks.quantisation import working_type
from organseg.networks.vision_language import VisionLanguage, build_llava

GIB = 1 << 30
DEPTH = TINY.vision_language.depth
QUESTIONS = ["Which organ stores bile?"]
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def original() -> VisionLanguage:
    vision_language = copy.deepcopy(constructed_checkpoint().organ_seg.vision_language)
    merge_adapter(vision_language)
    return vision_language


@pytest.fixture(scope="module")
def seven_billion() -> VisionLanguage:
    """LLaVA-Med's modules without memory, in float16."""
    size = LLAVA_MED_7B.vision_language
    tokenizer, image_id, opening_id = stand_in_tokenizer()
    prompts = PromptBuilder(
        tokenizer,
        bos_id=opening_id,
        eos_id=2,
        image_id=image_id,
        patches=size.patches,
        max_tokens=size.max_tokens,
    )
    with torch.device("meta"):
        llava = build_llava(size, image_token_id=image_id)
    return VisionLanguage(llava.half(), prompts, size)


def halves(first: str, second: str) -> dict[str, int | str]:
    """A map of the tiny model whose last blocks are elsewhere than the first ones."""
    blocks = {f"{BLOCKS}.{i}": first if i < DEPTH // 2 else second for i in range(DEPTH)}
    return {
        "vision_tower": first,
        "multi_modal_projector": first,
        "language_model.embed_tokens": first,
        "language_model.rotary_emb": first,
        "language_model.norm": second,
        **blocks,
    }


def prepared(original: VisionLanguage, weights: LanguageModelWeights) -> VisionLanguage:
    return copy.deepcopy(original).to(working_type(weights))


def pixels() -> torch.Tensor:
    side = TINY.vision_language.image_size
    return torch.arange(side * side).reshape(1, side, side).remainder(251).to(torch.uint8)


@pytest.mark.parametrize("weights", LanguageModelWeights)
@torch.inference_mode()
def test_a_map_of_many_entries_gives_the_states_of_one_device(original, weights):
    pytest.importorskip("bitsandbytes")
    one, several = (prepared(original, weights) for _ in range(2))
    assert place_on_one(one, weights, "cpu") == torch.device("cpu")
    assert spread(several, weights, halves("cpu", "cpu")) == torch.device("cpu")
    for wanted, got in zip(one(pixels(), QUESTIONS), several(pixels(), QUESTIONS), strict=True):
        assert torch.equal(wanted, got)


@torch.inference_mode()
def test_states_travel_to_the_device_of_each_block(original):
    model = prepared(original, LanguageModelWeights.FP32)
    spread(model, LanguageModelWeights.FP32, halves("cpu", "meta"))
    seen: list[str] = []
    for block in model.language_model.layers:
        assert len({weight.device.type for weight in block.parameters()}) == 1
        block.input_layernorm.register_forward_hook(
            lambda _, inputs, __: seen.append(inputs[0].device.type)
        )
    # The last states would have to come back, and meta has no numbers to bring.
    with pytest.raises(NotImplementedError, match="meta"):
        model(pixels(), QUESTIONS)
    assert seen == ["cpu"] * (DEPTH // 2) + ["meta"] * (DEPTH - DEPTH // 2)


@pytest.mark.parametrize("weights", LanguageModelWeights)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_seven_billion_weights_are_spread_evenly_and_in_order(seven_billion, weights, count):
    found = plan(seven_billion, weights, dict.fromkeys(range(count), 40 * GIB))
    devices = [device_for(f"{BLOCKS}.{i}", found) for i in range(32)]
    assert devices == sorted(devices)
    assert set(devices) == set(range(count))
    most = max(devices.count(index) for index in range(count))
    assert most <= 32 / count + 5
    assert device_for("vision_tower.encoder", found) == 0


def test_quantised_weights_are_planned_with_their_own_size(seven_billion):
    # 14 GiB in float16, 7 in int8, 4 in int4, of 80 % of what is free.
    room = {0: 6 * GIB, 1: 6 * GIB}
    assert set(plan(seven_billion, LanguageModelWeights.INT4, room).values()) == {0, 1}
    assert set(plan(seven_billion, LanguageModelWeights.INT8, room).values()) == {0, 1}
    with pytest.raises(EngineError, match=r"13\.8 GiB.* in fp16 over 2 GPUs"):
        plan(seven_billion, LanguageModelWeights.FP16, room)


def test_one_gpu_that_the_server_sees_gets_all(seven_billion):
    found = plan(seven_billion, LanguageModelWeights.FP16, {0: 40 * GIB})
    assert set(found.values()) == {0}


def test_no_gpu_is_filled_beyond_its_share_but_the_last():
    limits = memory_limits(100, 10, {0: 1000, 1: 1000, 2: 40})
    assert limits == {0: 43, 1: 43, 2: int(USABLE * 40)}


def test_a_part_is_where_the_part_around_it_is():
    device_map = {"vision_tower": 0, "language_model": 1, "language_model.layers.3": 2}
    assert device_for("language_model.layers.3.mlp", device_map) == 2
    assert device_for("language_model.layers.30", device_map) == 1
    assert device_for("vision_tower", device_map) == 0
    assert device_for("anything", {"": 5}) == 5


@needs_no_gpu
def test_where_the_server_sees_no_gpu_nothing_is_spread():
    with pytest.raises(EngineError, match="--placement one"):
        visible_gpus()
