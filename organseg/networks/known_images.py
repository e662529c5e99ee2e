"""What the language model knows of an image before anybody asks, and questions put on top of it.

The prompt begins with the image and the fixed text. Under a causal mask their states, keys and
values are the same whatever is asked, so they are computed once and kept; a question then costs
its own tokens alone. Images are computed together, and so are questions about any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
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


@torch.inference_mode()
def know_images(vision_language: VisionLanguage, vlm_pixels: Tensor) -> list[KnownImage]:
    """Computes images and the fixed text, all in one prefill.

    Args:
        vision_language: the model, placed where it computes.
        vlm_pixels: uint8 [B, V, V] grey levels, on the device that wants them.
    """
    count, prompts = len(vlm_pixels), vision_language.prompts
    tokens = torch.tensor([prompts.prefix], dtype=torch.long, device=vlm_pixels.device)
    cache = DynamicCache()
    hidden = vision_language.continued(tokens.expand(count, -1), cache, vlm_pixels)
    first, last = prompts.image_start, prompts.image_start + vision_language.size.patches
    layers: Any = cache.layers
    return [
        KnownImage(
            # Copies, so that none keeps the whole batch alive.
            layers=tuple(
                (layer.keys[row : row + 1].clone(), layer.values[row : row + 1].clone())
                for layer in layers
            ),
            patch_states=hidden[row, first:last].clone(),
            last_state=hidden[row, -1].clone(),
        )
        for row in range(count)
    ]


@torch.inference_mode()
def answer_states(
    vision_language: VisionLanguage,
    known: Sequence[KnownImage],
    questions: Sequence[str],
    device: torch.device,
) -> Tensor:
    """The states of the last prompt tokens of questions, each about an image that is known.

    Tails are padded on the right to one of few lengths (`prompt.bucket_length`). All prefixes are
    of one length, so no token sees padding, on either side of it.

    Args:
        vision_language: the model, placed where it computes.
        known: B images; the same one may be there several times.
        questions: B questions. An empty one asks nothing: its state is that of the prefix.
        device: the device that wants the tokens.

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
    # Of their own: a cache grows by new tensors, and those that are kept stay as they are.
    cache = DynamicCache(_joined([known[row].layers for row in asked]))
    hidden = vision_language.continued(tails.token_ids.to(device), cache, None)
    for place, row in enumerate(asked):
        states[row] = hidden[place, int(tails.lengths[place]) - 1]
    return torch.stack([state.to(hidden.device) for state in states])


def _joined(
    layers: Sequence[tuple[tuple[Tensor, Tensor], ...]],
) -> list[tuple[Tensor, Tensor]]:
    """The keys and values of several images side by side, block by block; one image's as it is."""
    if len(layers) == 1:
        return list(layers[0])
    return [
        (torch.cat([keys for keys, _ in block]), torch.cat([values for _, values in block]))
        for block in zip(*layers, strict=True)
    ]
