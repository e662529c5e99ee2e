"""Puts a loaded vision-language model where it is to compute: on one device, or over several.

Whatever the devices, it is the same few steps: quantise each block of the decoder on the device
that will have it, then bring all else there. Over several devices accelerate's hooks carry the
states from one to the next; the blocks work one after the other, so it is room that is won, not
time. The language-model head stays where it was loaded: no text is written, so nobody asks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import dispatch_model, infer_auto_device_map  # type: ignore[import-untyped]
from accelerate.utils import (  # type: ignore[import-untyped]
    CustomDtype,
    compute_module_sizes,
)
from torch import nn

from organseg.contract import LanguageModelWeights
from organseg.errors import EngineError
from organseg.networks.quantisation import quantise_linears
from organseg.networks.vision_language import VisionLanguage

Device = int | str
"""A device as accelerate names it: a GPU by its number."""
BLOCKS = "language_model.layers"
"""The decoder's blocks, by their name in LLaVA without its head."""
USABLE = 0.8
"""The share of a GPU's free memory that weights may take; activations need the rest."""

_STORED: dict[LanguageModelWeights, Any] = {
    LanguageModelWeights.INT8: torch.int8,
    LanguageModelWeights.INT4: CustomDtype.INT4,
}


def place_on_one(
    vision_language: VisionLanguage, weights: LanguageModelWeights, device: torch.device | str
) -> torch.device:
    """Puts the model, in place, on one device; gives the device that wants the pixels."""
    llava = _without_head(vision_language)
    for block in llava.language_model.layers:
        quantise_linears(block, weights, device)
    llava.to(device)
    return _bring_constants(vision_language, torch.device(device))


def spread(
    vision_language: VisionLanguage,
    weights: LanguageModelWeights,
    device_map: Mapping[str, Device],
) -> torch.device:
    """Puts the model, in place, over the devices of a map; gives the one that wants the pixels.

    Args:
        vision_language: a loaded model in the weights' working type, on the CPU.
        weights: what its decoder's linear layers are to be kept in.
        device_map: a device for every part of LLaVA without its head, by the names of modules,
            as `plan` makes it.
    """
    llava = _without_head(vision_language)
    for index, block in enumerate(llava.language_model.layers):
        device = device_for(f"{BLOCKS}.{index}", device_map)
        quantise_linears(block, weights, _named(device))
    first = device_for("vision_tower", device_map)
    # Hooks even where all is on one device, so that every map takes the same path.
    dispatch_model(llava, dict(device_map), main_device=first, force_hooks=True)
    return _bring_constants(vision_language, torch.device(_named(first)))


def plan(
    vision_language: VisionLanguage,
    weights: LanguageModelWeights,
    free_bytes: Mapping[int, int],
) -> dict[str, Device]:
    """Which GPU gets which part: an even share each, no block of a decoder or tower divided.

    Args:
        vision_language: the model; only its shapes and types are read, so it may be on `meta`.
        weights: what its decoder's linear layers will be kept in.
        free_bytes: the free memory of every GPU, by its number.

    Raises:
        EngineError: the GPUs cannot hold the model.
    """
    llava = _without_head(vision_language)
    stored = {
        f"{BLOCKS}.{name}.weight": _STORED[weights]
        for name, module in llava.language_model.layers.named_modules()
        if weights.is_quantised and type(module) is nn.Linear
    }
    # A set in transformers, whose order is of no consequence; accelerate wants a list.
    whole = list(llava._no_split_modules)
    sizes = compute_module_sizes(llava, special_dtypes=stored)
    limits = memory_limits(sizes[""], max(_parts(sizes)), free_bytes)
    device_map: dict[str, Device] = infer_auto_device_map(
        llava, max_memory=dict(limits), no_split_module_classes=whole, special_dtypes=stored
    )
    if not set(device_map.values()) <= set(free_bytes):
        raise EngineError(
            f"wanted {sizes[''] / 2**30:.1f} GiB for the language model's weights in "
            f"{weights.value} over {len(free_bytes)} GPUs, {USABLE:.0%} of what they have free is "
            f"{USABLE * sum(free_bytes.values()) / 2**30:.1f} GiB: choose a smaller "
            "--language-model, or let the server see more GPUs"
        )
    return device_map


def memory_limits(whole: int, largest_part: int, free_bytes: Mapping[int, int]) -> dict[int, int]:
    """The bytes of weights that each GPU may get: an even share and a part, where there is room.

    A part cannot be divided, so a share has to have room for one that it only half covers. The last
    GPU may take what the others leave.
    """
    share = whole // max(len(free_bytes), 1) + largest_part
    rooms = {index: int(USABLE * free) for index, free in free_bytes.items()}
    return {
        index: room if index == max(rooms) else min(room, share) for index, room in rooms.items()
    }


def visible_gpus() -> dict[int, int]:
    """Free bytes of every GPU that this process sees; raises `EngineError` where it sees none."""
    count = torch.cuda.device_count()
    if not count:
        raise EngineError(
            "wanted GPUs to spread the language model over, this server sees none: give it some, "
            "or export the release with --placement one"
        )
    return {index: torch.cuda.mem_get_info(index)[0] for index in range(count)}


def device_for(name: str, device_map: Mapping[str, Device]) -> Device:
    """The device of a module: its own entry's, or that of the nearest part around it."""
    while name not in device_map and name:
        name = name.rpartition(".")[0]
    return device_map[name]


def _parts(sizes: Mapping[str, int]) -> list[int]:
    """The sizes of what is placed as one: the decoder's blocks and the token embeddings."""
    return [
        size
        for name, size in sizes.items()
        if name.rpartition(".")[0] == BLOCKS or name == "language_model.embed_tokens"
    ]


def _named(device: Device) -> str:
    return f"cuda:{device}" if isinstance(device, int) else device


def _without_head(vision_language: VisionLanguage) -> Any:
    llava: Any = vision_language.llava
    return llava.model


def _bring_constants(vision_language: VisionLanguage, device: torch.device) -> torch.device:
    vision_language.mean = vision_language.mean.to(device)
    vision_language.deviation = vision_language.deviation.to(device)
    return device
