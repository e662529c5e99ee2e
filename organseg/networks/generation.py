"""Writes text with a vision-language model: one prefill, then one token after another.

Greedy: of equal prompts come equal words. Keys and values are kept, so a token costs its own pass
alone. A consumer that stops asking stops the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from organseg.networks.vision_language import VisionLanguage


class Writer:
    """A model that was placed where it computes (`networks.placement`), and its head beside it."""

    def __init__(self, vision_language: VisionLanguage, device: torch.device) -> None:
        """Brings the head, which placement leaves where it was loaded, to the other weights.

        Args:
            vision_language: the model, placed.
            device: the device that wants the pixels, as placement gives it.
        """
        self._model, self._device = vision_language, device
        self._head = vision_language.language_head.to(device)
        self._closed = closed_tokens(vision_language).to(device)
        self._eos_id = vision_language.prompts.eos_id

    @torch.inference_mode()
    def write(self, vlm_pixels: Tensor, prompt: Sequence[int], *, limit: int) -> Iterator[int]:
        """The token ids that follow a prompt, as they come; the end of sequence is not among them.

        Args:
            vlm_pixels: uint8 [1, V, V] grey levels.
            prompt: the token ids, image tokens included.
            limit: the most tokens that are given.
        """
        known = DynamicCache()
        tokens = torch.tensor([prompt], dtype=torch.long, device=self._device)
        pixels: Tensor | None = vlm_pixels.to(self._device)
        for _ in range(limit):
            hidden = self._model.continued(tokens, known, pixels)
            scores = self._head(hidden[:, -1].to(self._device)).float()
            scores = scores.masked_fill(self._closed, -torch.inf)
            token = int(scores.argmax())
            if token == self._eos_id:
                return
            yield token
            tokens, pixels = tokens.new_tensor([[token]]), None


def closed_tokens(vision_language: VisionLanguage) -> Tensor:
    """Bool [vocabulary]: what is never written, control tokens and rows without a token."""
    prompts = vision_language.prompts
    added = prompts.tokenizer.get_added_tokens_decoder()
    closed = torch.ones(vision_language.language_head.out_features, dtype=torch.bool)
    closed[: prompts.tokenizer.get_vocab_size()] = False
    closed[[index for index, token in added.items() if token.special]] = True
    closed[prompts.eos_id] = False
    return closed
