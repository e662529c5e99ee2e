"""The memory budget and its page."""

from __future__ import annotations

import pytest

from organseg.contract import (
    EXPLAIN_NAME,
    LLAVA_MED_7B,
    MOST_TOKENS,
    PRESETS,
    TINY,
    Explanations,
    ImageFeatures,
    LanguageModelWeights,
    Verdict,
)
from organseg.contract.memory import (
    GPU_CLASSES,
    OPENING_TOKENS,
    GpuClass,
    budget,
    explanation_parts,
    host_bytes,
    kept_parts,
    kept_weight_bytes,
    key_value_bytes,
    largest_batch,
    stage_weight_bytes,
    total_bytes,
)
from organseg.contract.memory_page import CHOICES, render_memory
from organseg.networks.answer_text import Finding, answer_opening
from organseg.networks.build import stand_in_tokenizer
from organseg.organs import ORGANS

PAGE = render_memory()
SIZE = LLAVA_MED_7B.vision_language
every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
every_weights = pytest.mark.parametrize(
    "weights", LanguageModelWeights, ids=lambda each: each.value
)


@every_preset
@every_weights
def test_the_largest_batch_fits_and_the_next_one_does_not(preset, weights):
    for gpu in GPU_CLASSES:
        parts = budget(preset, weights)
        batch = largest_batch(preset, weights, gpu)
        if batch:
            assert total_bytes(parts, batch) <= gpu.usable_bytes
        if batch < preset.max_batch:
            assert total_bytes(parts, batch + 1) > gpu.usable_bytes


def test_fewer_bits_take_less_and_float16_takes_what_bfloat16_does():
    kept = {each: kept_weight_bytes(SIZE, each) for each in LanguageModelWeights}
    order = [LanguageModelWeights.FP32, LanguageModelWeights.FP16]
    order += [LanguageModelWeights.INT8, LanguageModelWeights.INT4]
    assert sorted(order, key=lambda each: -kept[each]) == order
    assert kept[LanguageModelWeights.BF16] == kept[LanguageModelWeights.FP16]
    assert kept[LanguageModelWeights.FP32] == 2 * kept[LanguageModelWeights.FP16]


def test_four_bits_fit_a_24_gb_card_with_company_and_sixteen_do_not_fit_a_16_gb_card():
    small, common = GPU_CLASSES[:2]
    assert (small.gigabytes, common.gigabytes) == (16, 24)
    assert largest_batch(LLAVA_MED_7B, LanguageModelWeights.INT4, common) > 1
    assert largest_batch(LLAVA_MED_7B, LanguageModelWeights.INT8, common) > 1
    assert largest_batch(LLAVA_MED_7B, LanguageModelWeights.BF16, small) == 0


def test_the_whole_mistral_in_bfloat16_is_the_bytes_that_its_weights_say():
    parts = {part.name: part for part in budget(LLAVA_MED_7B, LanguageModelWeights.BF16)}
    assert parts["language model, weights"].fixed_bytes == 2 * 7_110_922_240


@every_weights
def test_a_spread_model_leaves_room_on_each_gpu_but_more_than_an_even_share(weights):
    alone, spread = (budget(LLAVA_MED_7B, weights, gpus=gpus)[0].fixed_bytes for gpus in (1, 4))
    assert alone / 4 < spread < alone


def test_loading_takes_the_hosts_memory_in_sixteen_bits_whatever_is_kept_then():
    int4 = host_bytes(SIZE, LanguageModelWeights.INT4)
    assert int4 == host_bytes(SIZE, LanguageModelWeights.FP16) == 2 * 7_566_743_552
    assert int4 > kept_weight_bytes(SIZE, LanguageModelWeights.INT4)


def test_keys_and_values_are_two_a_layer_and_token():
    wanted = 2 * 32 * 2048 * 1024 * 2
    assert key_value_bytes(SIZE, LanguageModelWeights.BF16, 2048) == wanted


@every_preset
@every_weights
def test_explanations_take_a_second_copy_of_the_model_with_its_head_and_keep_keys(preset, weights):
    size = preset.vision_language
    weight_part, at_work, _ = explanation_parts(preset, weights)
    own = kept_weight_bytes(size, weights)
    if not size.tied_embeddings:
        own += size.vocabulary * size.width * (4 if weights is LanguageModelWeights.FP32 else 2)
    assert weight_part.fixed_bytes == own == stage_weight_bytes(preset, EXPLAIN_NAME, weights)
    assert at_work.fixed_bytes > key_value_bytes(size, weights, size.max_tokens + MOST_TOKENS)
    # One request at a time, whatever the flow's batch.
    assert weight_part.request_bytes == at_work.request_bytes == 0


def test_a_card_with_explanations_holds_a_smaller_batch():
    common = GPU_CLASSES[1]
    int4 = LanguageModelWeights.INT4
    alone = largest_batch(LLAVA_MED_7B, int4, common)
    explaining = largest_batch(LLAVA_MED_7B, int4, common, explanations=Explanations.INCLUDE)
    assert 0 < explaining < alone


@every_preset
@every_weights
def test_what_is_kept_has_room_for_several_images_and_a_release_may_do_without(preset, weights):
    reusing, direct = (
        {part.name: part for part in budget(preset, weights, image_features=way)}
        for way in (ImageFeatures.REUSE, ImageFeatures.DIRECT)
    )
    assert {name for name in reusing if name not in direct} == {
        part.name for part in kept_parts(preset, weights)
    }
    size = preset.vision_language
    # Image and fixed text fill a third of the longest prompt at the most.
    image = key_value_bytes(size, weights, size.max_tokens // 3)
    assert reusing["images kept, states, keys and values"].fixed_bytes >= 4 * image
    embedding = 2 * preset.segmenter.channels * preset.segmenter.grid**2
    assert reusing["images kept, embeddings"].fixed_bytes >= 32 * embedding


def test_a_card_that_is_a_little_too_small_holds_a_release_that_keeps_nothing():
    common, int8 = GPU_CLASSES[1], LanguageModelWeights.INT8
    batches = [
        largest_batch(
            LLAVA_MED_7B, int8, common, explanations=Explanations.INCLUDE, image_features=way
        )
        for way in (ImageFeatures.REUSE, ImageFeatures.DIRECT)
    ]
    assert batches == [0, 1]


def test_the_answers_beginning_fits_the_room_that_is_counted_for_it():
    tokenizer, _, _ = stand_in_tokenizer()
    every = [Finding(organ, Verdict.ABSENT_IN_IMAGE) for organ in ORGANS]
    opening = tokenizer.encode(answer_opening(every), add_special_tokens=False).ids
    assert len(opening) <= OPENING_TOKENS


def test_no_batch_is_larger_than_the_presets_limit():
    huge = GpuClass(10_000, "none that there is")
    assert largest_batch(TINY, LanguageModelWeights.FP32, huge) == TINY.max_batch


@every_preset
def test_the_page_has_a_row_for_every_class_of_gpus(preset):
    section = PAGE.split(f"## `{preset.name}`", 1)[1].split("\n## ", 1)[0]
    for gpu in GPU_CLASSES:
        (row,) = (line for line in section.splitlines() if line.startswith(f"| {gpu.gigabytes} GB"))
        batches = [cell.strip() for cell in row.split("|")[2:-1]]
        for weights, cell in zip(CHOICES, batches, strict=True):
            explaining, alone = (
                str(largest_batch(preset, weights, gpu, explanations=each) or "does not fit")
                for each in Explanations
            )
            assert cell == (alone if explaining == alone else f"{explaining} ({alone})")


@every_preset
def test_the_page_names_every_part_that_is_counted(preset):
    section = PAGE.split(f"## `{preset.name}`", 1)[1].split("\n## ", 1)[0]
    for part in budget(preset, LanguageModelWeights.INT8, explanations=Explanations.INCLUDE):
        assert f"| {part.name} |" in section


def test_the_memory_page_ends_in_one_newline():
    assert PAGE.endswith("|\n")
