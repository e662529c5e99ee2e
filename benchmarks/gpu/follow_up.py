"""Follow-up questions: the prefix's keys and values are kept, a question costs its own tokens.

The prompt is laid out for it (`organseg.networks.prompt`): image and fixed text first, the question
last. The keys and values of the first part stay in transformers' `StaticCache`, whose tensors never
move; every question is padded to one number of tokens, its room. So each question runs the same
kernels on the same addresses, which is what CUDA graphs and `torch.compile` ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache

from organseg.errors import QuestionError
from organseg.networks.vision_language import VisionLanguage

ROOM = 64
"""Tokens that a question may have, the closing ones included."""
# Attention with a mask copies it first, in every layer, where its rows are not aligned.
_ALIGNMENT = 64


class FollowUp:
    """One batch of images, read once; then any number of questions about each."""

    def __init__(self, vision_language: VisionLanguage, *, room: int = ROOM) -> None:
        """Prepares for questions of at most `room` tokens; no image is read yet."""
        self._vision_language = vision_language
        self._language_model: Any = vision_language.language_model
        self.room = room
        weights = next(self._language_model.parameters())
        self._device, self._dtype = weights.device, weights.dtype
        prefix = len(vision_language.prompts.prefix)
        self.prefix_tokens = prefix
        positions = torch.arange(prefix, prefix + room, device=self._device)
        self._position_ids = positions.unsqueeze(0)
        # The whole cache is looked at, and the mask says what of it counts: a fixed shape.
        self._length = -(-(prefix + room) // _ALIGNMENT) * _ALIGNMENT
        written = torch.arange(self._length, device=self._device)
        self._mask = (written.unsqueeze(0) <= positions.unsqueeze(1))[None, None]
        self._cache: StaticCache | None = None
        self._rows = 0

    @torch.no_grad()
    def read_image(self, vlm_pixels: Tensor) -> Tensor:
        """Prefills the images with the fixed text and keeps their keys and values.

        Args:
            vlm_pixels: uint8 [B, V, V] grey levels, on the model's device.

        Returns:
            The patch states, [B, P, D] in the model's type: they do not depend on the question.
        """
        batch = len(vlm_pixels)
        prompts = self._vision_language.prompts
        first, last = prompts.image_start, prompts.image_start + self._vision_language.size.patches
        embedded = self._embed(torch.tensor([prompts.prefix], device=self._device)).repeat(
            batch, 1, 1
        )
        embedded[:, first:last] = self._vision_language.image_features(vlm_pixels)
        if self._cache is None or self._rows != batch:
            self._rows = batch
            self._cache = StaticCache(
                config=self._language_model.config, max_cache_len=self._length
            )
        self._rewind(0)
        states: Tensor = self._language_model(
            inputs_embeds=embedded, past_key_values=self._cache, use_cache=True
        ).last_hidden_state
        return states[:, first:last]

    def tokens_of(self, questions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The questions' own tokens, padded on the right to the room.

        Returns:
            int64 [B, room] token ids and int64 [B] lengths, on the model's device.

        Raises:
            QuestionError: a question has more tokens than there is room for.
        """
        prompt = self._vision_language.prompts.build(questions)
        lengths = prompt.lengths - self.prefix_tokens
        longest = int(lengths.max())
        if longest > self.room:
            raise QuestionError(
                f"wanted a follow-up question of at most {self.room} tokens, got {longest}: "
                "shorten it, or ask it with the whole prompt"
            )
        padded = torch.zeros(len(questions), self.room, dtype=torch.long)
        padded[:, :longest] = prompt.token_ids[:, self.prefix_tokens :]
        return padded.to(self._device), lengths.to(self._device)

    @torch.no_grad()
    def ask(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Prefills the questions' tokens behind the images' prefix, which stays as it is.

        Padding is on the right and attention causal: no token that counts sees it.

        Args:
            token_ids: int64 [B, room], one question to each image that was read.
            lengths: int64 [B].

        Returns:
            The answer states, [B, D] in the model's type.
        """
        self._rewind(self.prefix_tokens)
        states: Tensor = self._language_model(
            inputs_embeds=self._embed(token_ids),
            attention_mask=self._mask,
            position_ids=self._position_ids,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        rows = torch.arange(len(token_ids), device=self._device)
        return states[rows, lengths - 1]

    def _embed(self, token_ids: Tensor) -> Tensor:
        embedded: Tensor = self._language_model.get_input_embeddings()(token_ids)
        return embedded

    def _rewind(self, tokens: int) -> None:
        """Lets the next tokens be written from this position on."""
        if self._cache is None:
            raise RuntimeError("wanted an image to be read before questions are asked about it")
        layers: Any = self._cache.layers
        for layer in layers:
            # In place, so that a captured graph rewinds too.
            layer.cumulative_length.fill_(tokens)
