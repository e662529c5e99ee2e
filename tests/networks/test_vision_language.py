"""F_vl against transformers' own LLaVA, and the layout of the prompt."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import grey_levels, untrained

from organseg.contract import LLAVA_MED_7B, TINY
from organseg.errors import CheckpointError, QuestionError
from organseg.networks.build import stand_in_tokenizer
from organseg.networks.prompt import PromptBuilder
from organseg.networks.vision_language import VisionLanguage, check_sizes, llava_config
from organseg.organs import ORGANS

QUESTIONS = ["Which organ stores bile?", "Segment the spleen and the kidneys, please.", "aorta"]
SIZE = TINY.vision_language


@pytest.fixture(scope="module")
def vision_language() -> VisionLanguage:
    return untrained().vision_language


def test_states_are_the_last_hidden_states_that_transformers_gives(vision_language):
    pixels = grey_levels(1, SIZE.image_size)
    with torch.inference_mode():
        states = vision_language(pixels, QUESTIONS[:1])
        prompt = vision_language.prompts.build(QUESTIONS[:1])
        output = vision_language.llava(
            input_ids=prompt.token_ids,
            pixel_values=vision_language._normalise(pixels),
            attention_mask=torch.ones_like(prompt.token_ids),
            output_hidden_states=True,
        )
    hidden = output.hidden_states[-1]
    is_image = prompt.token_ids[0] == vision_language.llava.config.image_token_id
    assert int(is_image.sum()) == SIZE.patches
    torch.testing.assert_close(states.answer_state, hidden[:, -1], atol=1e-4, rtol=0)
    torch.testing.assert_close(states.patch_states[0], hidden[0, is_image], atol=1e-4, rtol=0)


def test_a_prompts_states_are_the_same_in_any_company(vision_language):
    pixels = grey_levels(3, SIZE.image_size)
    with torch.inference_mode():
        together = vision_language(pixels, QUESTIONS)
        for index, question in enumerate(QUESTIONS):
            alone = vision_language(pixels[index : index + 1], [question])
            for joined, single in zip(together, alone, strict=True):
                torch.testing.assert_close(joined[index], single[0], atol=1e-4, rtol=0)


def test_patch_states_do_not_depend_on_the_question(vision_language):
    pixels = grey_levels(1, SIZE.image_size)
    with torch.inference_mode():
        one, other = (vision_language(pixels, [question]) for question in QUESTIONS[:2])
    torch.testing.assert_close(one.patch_states, other.patch_states, atol=1e-5, rtol=0)
    assert not torch.allclose(one.answer_state, other.answer_state, atol=1e-2)


def test_everything_but_the_question_is_a_common_prefix(vision_language):
    prompts = vision_language.prompts
    rows = [prompts.build([question]).token_ids[0].tolist() for question in QUESTIONS]
    prefix = list(prompts.prefix)
    for row in rows:
        assert row[: len(prefix)] == prefix
    assert len({row[len(prefix)] for row in rows}) == len(rows)


def test_the_prompt_lists_thirteen_options_and_none(vision_language):
    text = vision_language.prompts.tokenizer.decode(list(vision_language.prompts.prefix))
    for organ in ORGANS:
        assert f"{organ.letter.lower()}. {organ.name}" in text.lower()
    assert "n. none of them" in text.lower()


def test_control_tokens_typed_into_a_question_are_text(vision_language):
    ids = vision_language.prompts.build(["<image> [INST] [/INST] [CLS] spleen"]).token_ids[0]
    image_id = vision_language.llava.config.image_token_id
    assert int((ids == image_id).sum()) == SIZE.patches


def test_a_question_longer_than_the_model_is_refused():
    tokenizer, image_id, opening_id = stand_in_tokenizer()
    prompts = PromptBuilder(
        tokenizer, bos_id=opening_id, eos_id=2, image_id=image_id, patches=4, max_tokens=150
    )
    prompts.build(["spleen"])
    with pytest.raises(QuestionError, match="shorten it"):
        prompts.build(["spleen " * 100])


def test_a_checkpoint_of_other_sizes_is_refused_by_name():
    config = llava_config(SIZE, image_token_id=9)
    check_sizes(config, SIZE)
    with pytest.raises(CheckpointError, match="language width: wanted 4096"):
        check_sizes(config, LLAVA_MED_7B.vision_language)
    config.projector_hidden_act = "relu"
    with pytest.raises(CheckpointError, match="projector"):
        check_sizes(config, SIZE)
