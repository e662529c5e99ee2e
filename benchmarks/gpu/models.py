"""Random models of a preset, made on the device itself: time does not ask what was learned.

The language model is made in its own type (bfloat16 on a GPU), so seven thousand million weights
never pass through the host; segmenter and extractors are float32, as trained, and their stages
choose a precision for each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.gpu.device import Device
from organseg.contract.presets import Preset, VisionLanguageSize
from organseg.errors import EngineError
from organseg.networks.build import build_organ_seg, build_vision_language
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.vision_language import VisionLanguage

_ROOM_FOR_ACTIVATIONS = 1.25
"""How much more than the weights a language model needs, at the batch sizes measured here."""


def random_vision_language(
    size: VisionLanguageSize, device: str, dtype: torch.dtype, *, seed: int = 0
) -> VisionLanguage:
    """A seeded random vision-language model on a device, in evaluation mode; "meta" counts too."""
    with torch.random.fork_rng(devices=[]), torch.device(device), _default_dtype(dtype):
        torch.manual_seed(seed)
        # Its buffers are float32 in any case, as those of a loaded model.
        return build_vision_language(size).eval().requires_grad_(False)


def random_organ_seg(preset: Preset, device: Device, *, seed: int = 0) -> OrganSeg:
    """A seeded random Organ-Seg on the device, in evaluation mode.

    Raises `EngineError` where the device's memory does not hold it.
    """
    _require_memory(preset, device)
    vision_language = random_vision_language(
        preset.vision_language, device.name, device.language_dtype, seed=seed
    )
    with torch.device(device.name):
        organ_seg = build_organ_seg(preset, seed=seed, vision_language=vision_language)
    return organ_seg.requires_grad_(False)


def _require_memory(preset: Preset, device: Device) -> None:
    free = device.free_memory_bytes()
    if free is None:
        return
    meta = random_vision_language(preset.vision_language, "meta", device.language_dtype)
    weights = sum(weight.numel() * weight.element_size() for weight in meta.parameters())
    wanted = weights * _ROOM_FOR_ACTIVATIONS
    if free < wanted:
        raise EngineError(
            f"wanted {wanted / 1e9:.1f} GB of free GPU memory for the preset {preset.name}, got "
            f"{free / 1e9:.1f} GB: use a larger GPU, stop what fills this one, or measure medsam"
        )


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
