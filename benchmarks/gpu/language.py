"""The language model's stages in every way that they are timed: prefill and follow-up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import torch

from benchmarks.gpu.device import Device
from benchmarks.gpu.follow_up import ROOM, FollowUp
from organseg.contract import Preset
from organseg.networks.vision_language import VisionLanguage

EAGER, COMPILED, CAPTURED = "torch", "torch.compile", "CUDA graph"
"""The ways to run a follow-up's prefill."""

QUESTIONS = (
    "Which organ stores bile?",
    "Segment the spleen and the left kidney.",
    "Where does food go after the gullet?",
    "What is the capital of France?",
)
"""Asked in turn, one to each image of a batch."""


class LanguageCalls:
    """Calls of one language model at one batch size, their inputs made."""

    def __init__(
        self, vision_language: VisionLanguage, preset: Preset, device: Device, batch: int
    ) -> None:
        """Makes images and questions."""
        self._language, self._device = vision_language, device
        # The prompt's text is no tensor of a graph: the pixels alone are made.
        self._pixels = random_pixels(preset, batch, device.name)
        self._questions = list(islice(cycle(QUESTIONS), batch))
        self.tokens = int(vision_language.prompts.build(self._questions).lengths.max())
        """Tokens of the longest prompt, image tokens included."""
        self.room = ROOM
        """Tokens that every follow-up is padded to."""

    def prefill(self) -> Callable[[], object]:
        """Images and questions together, as the stage `llava_med` does it."""
        return lambda: self._language(self._pixels, self._questions)

    def follow_ups(self) -> dict[str, Callable[[], Callable[[], object]]]:
        """For every way, what prepares its call; preparing may fail and may take minutes.

        Each has images of its own, read before, and its questions as tokens on the device.
        """

        def plain() -> Callable[[], object]:
            ask, given = self._read()
            return lambda: ask.ask(*given)

        def compiled() -> Callable[[], object]:
            ask, given = self._read()
            call = self._device.compiled(ask.ask)
            return lambda: call(*given)

        def captured() -> Callable[[], object]:
            ask, given = self._read()
            with torch.no_grad():
                return self._device.captured(lambda: ask.ask(*given))

        return {EAGER: plain, COMPILED: compiled, CAPTURED: captured}

    def _read(self) -> tuple[FollowUp, tuple[torch.Tensor, torch.Tensor]]:
        follow_up = FollowUp(self._language)
        follow_up.read_image(self._pixels)
        return follow_up, follow_up.tokens_of(self._questions)


def random_pixels(preset: Preset, batch: int, device: str) -> torch.Tensor:
    """uint8 [B, V, V] pictures of the language model's size."""
    side = preset.vision_language.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, side, side), generator=generator)
    return pixels.to(torch.uint8).to(device)
