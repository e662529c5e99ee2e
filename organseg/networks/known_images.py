"""What the language model knows of an image before anybody asks, and questions put on top of it.

The prompt begins with the image and the fixed text. Under a causal mask their states, keys and
values are the same whatever is asked, so they are computed once and kept; a question then costs
its own tokens alone. Images are computed together, and so are questions about any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from organseg.networks.vision_language import VisionLanguage


@dataclass(frozen=True)
class KnownImage:
    """One image with the fixed text behind it. Never changed once made: many may read it."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values of every decoder block, float [1, K, T, d] each, where the block is."""
    patch_states: Tensor
    """float [P, D]: the last layer's states of the image tokens."""
    last_state: Tensor
    """float [D]: that of the last token of the fixed text."""

    @property
    def nbytes(self) -> int:
        """What it takes, bytes."""
        tensors = (*(each for pair in self.layers for each in pair), self.patch_states)
        return sum(tensor.nbytes for tensor in (*tensors, self.last_state))


class ImagePrefix(nn.Module):
    """Image and fixed text as a function of the pixels alone, which an engine may run, too."""

    tokens: Tensor

    def __init__(self, vision_language: VisionLanguage) -> None:
        """Wraps the model as it is."""
        super().__init__()
        self.vision_language = vision_language
        prefix = torch.tensor([vision_language.prompts.prefix], dtype=torch.long)
        self.register_buffer("tokens", prefix, persistent=False)

    def forward(self, vlm_pixels: Tensor) -> tuple[Tensor, ...]:
        """One prefill of a batch.

        Args:
            vlm_pixels: uint8 [B, V, V] grey levels, on the device that wants them.

        Returns:
            The last layer's states, float [B, T, D], then keys and values of every decoder block
            in turn, float [B, K, T, d] each.
        """
        tokens = self.tokens.to(vlm_pixels.device).expand(vlm_pixels.shape[0], -1)
        recorded = _Recorded()
        hidden = self.vision_language.continued(tokens, recorded, vlm_pixels)
        return hidden, *recorded.tensors


class QuestionTail(nn.Module):
    """Questions on top of what is known of images, which an engine may run, too."""

    def __init__(self, vision_language: VisionLanguage) -> None:
        """Wraps the model as it is."""
        super().__init__()
        self.vision_language = vision_language

    def forward(self, token_ids: Tensor, *blocks: Tensor) -> Tensor:
        """Prefills the questions' tokens; what is known is read and stays as it is.

        Args:
            token_ids: int64 [B, T], padded on the right.
            blocks: keys and values of every decoder block in turn, float [B, K, P, d] each, of the
                image and the fixed text.

        Returns:
            The last layer's states, float [B, T, D].
        """
        pairs = tuple(zip(blocks[::2], blocks[1::2], strict=True))
        known = _OnTop(pairs, len(self.vision_language.prompts.prefix))
        return self.vision_language.continued(token_ids, known, None)


RunPrefix = Callable[[Tensor], tuple[Tensor, ...]]
"""`ImagePrefix`, or an engine that was made of it."""

RunTail = Callable[..., Tensor]
"""`QuestionTail`, or an engine that was made of it."""


@torch.inference_mode()
def know_images(
    vision_language: VisionLanguage, vlm_pixels: Tensor, run: RunPrefix | None = None
) -> list[KnownImage]:
    """Computes images and the fixed text, all in one prefill.

    Args:
        vision_language: the model, placed where it computes.
        vlm_pixels: uint8 [B, V, V] grey levels, on the device that wants them.
        run: what computes it; torch, if None.
    """
    hidden, *blocks = (run or ImagePrefix(vision_language))(vlm_pixels)
    first = vision_language.prompts.image_start
    last = first + vision_language.size.patches
    return [
        KnownImage(
            # Copies, so that none keeps the whole batch alive.
            layers=tuple(
                (keys[row : row + 1].clone(), values[row : row + 1].clone())
                for keys, values in zip(blocks[::2], blocks[1::2], strict=True)
            ),
            patch_states=hidden[row, first:last].clone(),
            last_state=hidden[row, -1].clone(),
        )
        for row in range(len(vlm_pixels))
    ]


@torch.inference_mode()
def answer_states(
    vision_language: VisionLanguage,
    known: Sequence[KnownImage],
    questions: Sequence[str],
    device: torch.device,
    run: RunTail | None = None,
) -> Tensor:
    """The states of the last prompt tokens of questions, each about an image that is known.

    Tails are padded on the right to one of few lengths (`prompt.bucket_length`). All prefixes are
    of one length, so no token sees padding, on either side of it.

    Args:
        vision_language: the model, placed where it computes.
        known: B images; the same one may be there several times.
        questions: B questions. An empty one asks nothing: its state is that of the prefix.
        device: the device that wants the tokens.
        run: what computes questions; torch, if None.

    Returns:
        float [B, D].

    Raises:
        QuestionError: a question is too long.
    """
    states = [image.last_state for image in known]
    asked = [row for row, question in enumerate(questions) if question]
    if not asked:
        return torch.stack(states)
    tails = vision_language.prompts.build_tails([questions[row] for row in asked])
    blocks = _joined([known[row].layers for row in asked])
    hidden = (run or QuestionTail(vision_language))(tails.token_ids.to(device), *blocks)
    for place, row in enumerate(asked):
        states[row] = hidden[place, int(tails.lengths[place]) - 1]
    return torch.stack([state.to(hidden.device) for state in states])


class _Recorded(DynamicCache):
    """Takes down the keys and values of one prefill; joins nothing to them, so it can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        self.tensors += [key_states, value_states]
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        return 0


class _OnTop(DynamicCache):
    """Puts new keys and values behind known ones and keeps neither, so it can be traced."""

    def __init__(self, known: Sequence[tuple[Tensor, Tensor]], length: int) -> None:
        super().__init__()
        self._known = known
        self._length = length

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        # New tensors: what is known stays as it is.
        keys, values = self._known[layer_idx]
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        return self._length

    def get_mask_sizes(self, query_length: int, *_: Any, **__: Any) -> tuple[int, int]:
        return self._length + query_length, 0


def _joined(layers: Sequence[tuple[tuple[Tensor, Tensor], ...]]) -> list[Tensor]:
    """Keys and values of several images side by side, block by block; one image's as they are."""
    blocks = zip(*([each for pair in image for each in pair] for image in layers), strict=True)
    return [block[0] if len(block) == 1 else torch.cat(block) for block in blocks]
