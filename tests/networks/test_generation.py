"""Writing token by token: the words of a plain loop, the limit, the end, and quantised weights."""

from __future__ import annotations

import copy

import pytest
import torch
from network_fixtures import grey_levels, untrained

from organseg.contract import TINY, LanguageModelWeights, Verdict
from organseg.networks.answer_text import Finding
from organseg.networks.explanation import explanation_prompt
from organseg.networks.generation import Writer, closed_tokens
from organseg.networks.placement import BLOCKS, place_on_one, spread
from organseg.networks.quantisation import working_type
from organseg.networks.vision_language import VisionLanguage
from organseg.organs import organ_by_name

WORDS = 12
QUESTION = "Which organ stores bile?"
FINDINGS = (Finding(organ_by_name("gallbladder"), Verdict.SEGMENTED),)


@pytest.fixture(scope="module")
def original() -> VisionLanguage:
    return untrained().vision_language


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return grey_levels(1, TINY.vision_language.image_size)


@pytest.fixture(scope="module")
def prompt(original) -> tuple[int, ...]:
    return explanation_prompt(original.prompts, QUESTION, FINDINGS)


def placed(original: VisionLanguage, weights: LanguageModelWeights) -> Writer:
    model = copy.deepcopy(original).to(working_type(weights))
    return Writer(model, place_on_one(model, weights, "cpu"))


@torch.inference_mode()
def plain_loop(
    model: VisionLanguage, pixels: torch.Tensor, prompt: tuple[int, ...], count: int
) -> list[int]:
    """The same words by computing everything anew for each, with transformers' whole model."""
    tokens = list(prompt)
    closed = closed_tokens(model)
    for _ in range(count):
        logits = model.llava(
            input_ids=torch.tensor([tokens]), pixel_values=model._normalise(pixels), use_cache=False
        ).logits[0, -1]
        tokens.append(int(logits.float().masked_fill(closed, -torch.inf).argmax()))
    return tokens[len(prompt) :]


def test_the_words_are_those_of_a_loop_that_computes_everything_anew(original, pixels, prompt):
    wanted = plain_loop(original, pixels, prompt, WORDS)
    writer = placed(original, LanguageModelWeights.FP32)
    assert list(writer.write(pixels, prompt, limit=WORDS)) == wanted
    assert len(set(wanted)) > 1


def test_no_more_tokens_come_than_the_limit(original, pixels, prompt):
    writer = placed(original, LanguageModelWeights.FP32)
    assert len(list(writer.write(pixels, prompt, limit=3))) == 3


def test_the_end_of_sequence_ends_the_words_and_is_not_among_them(original, pixels, prompt):
    writer = placed(original, LanguageModelWeights.FP32)
    free = list(writer.write(pixels, prompt, limit=WORDS))
    ended = copy.copy(writer)
    ended._eos_id = free[4]
    assert list(ended.write(pixels, prompt, limit=WORDS)) == free[: free.index(free[4])]


def test_control_tokens_and_rows_without_a_token_are_never_written(original):
    closed = closed_tokens(original)
    vocabulary = original.prompts.tokenizer.get_vocab()
    for name in ("<image>", "[INST]", "[/INST]", "[CLS]", "[PAD]"):
        assert closed[vocabulary[name]]
    assert closed[len(vocabulary) :].all()
    assert not closed[original.prompts.eos_id]
    assert not closed[vocabulary["liver"]]


def test_nothing_is_computed_after_the_consumer_stopped(original, pixels, prompt):
    model = copy.deepcopy(original)
    writer = Writer(model, place_on_one(model, LanguageModelWeights.FP32, "cpu"))
    passes: list[int] = []
    model.language_model.register_forward_hook(lambda *_: passes.append(1))
    words = writer.write(pixels, prompt, limit=WORDS)
    next(words)
    next(words)
    words.close()
    assert len(passes) == 2


@pytest.mark.parametrize("weights", LanguageModelWeights)
def test_every_type_of_weights_writes(original, pixels, prompt, weights):
    if weights.is_quantised:
        pytest.importorskip("bitsandbytes")
    writer = placed(original, weights)
    first = list(writer.write(pixels, prompt, limit=4))
    assert len(first) == 4
    assert list(writer.write(pixels, prompt, limit=4)) == first


def test_a_model_spread_over_devices_writes_the_same(original, pixels, prompt):
    model = copy.deepcopy(original)
    parts = ("vision_tower", "multi_modal_projector", "language_model.embed_tokens")
    depth = TINY.vision_language.depth
    names = [*parts, "language_model.rotary_emb", "language_model.norm"]
    names += [f"{BLOCKS}.{index}" for index in range(depth)]
    device = spread(model, LanguageModelWeights.FP32, dict.fromkeys(names, "cpu"))
    one = placed(original, LanguageModelWeights.FP32)
    assert list(Writer(model, device).write(pixels, prompt, limit=4)) == list(
        one.write(pixels, prompt, limit=4)
    )
