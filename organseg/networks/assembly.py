"""Joins a checkpoint's parts that lie in several places: originals, an adapter, our heads.

Training writes all parts into one folder; somebody who was given LLaVA-Med, MedSAM, a LoRA
adapter and the heads has them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from transformers import LlavaForConditionalGeneration

from organseg.contract.presets import Preset
from organseg.errors import CheckpointError
from organseg.networks import context_cache
from organseg.networks.checkpoint import (
    ADAPTER_FOLDER,
    CARD_FILE,
    EXTRACTORS_FILE,
    Checkpoint,
    CheckpointCard,
    load_card,
    load_state,
)
from organseg.networks.context_cache import load_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.lora import load_lora
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.original_checkpoints import OriginalFiles, original_checkpoint


@dataclass(frozen=True)
class PartFolders:
    """What a training adds to the originals, and where it lies."""

    adapter: Path | None = None
    """The folder of a LoRA adapter in PEFT's own format."""
    heads: Path | None = None
    """A folder with both heads and the context cache, as a training's checkpoint has them."""


def assemble(
    files: OriginalFiles,
    folders: PartFolders,
    preset: Preset,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Checkpoint:
    """A whole checkpoint from its parts; it counts as trained when none of them is missing.

    Args:
        files: the originals.
        folders: the adapter and the heads.
        preset: the sizes, which all parts must have.
        seed: of the random weights that stand in for a part that is not given.
        dtype: the type that the language model is kept in; an adapter is best merged in float32.

    Raises:
        CheckpointError: a part is missing, damaged or does not fit; the message names it.
    """
    # The small parts first: what is wrong with them is told before gigabytes are read.
    heads = _load_heads(folders, preset) if folders.heads else None
    checkpoint = original_checkpoint(files, preset, seed=seed, dtype=dtype)
    parts = checkpoint.organ_seg
    if folders.adapter:
        base = cast(LlavaForConditionalGeneration, parts.vision_language.llava)
        parts.vision_language.llava = load_lora(base, folders.adapter)
    added = [path.name for path in (folders.adapter, folders.heads) if path]
    description = " with ".join([checkpoint.card.description, *added])
    card = replace(checkpoint.card, description=description)
    if heads is None:
        return replace(checkpoint, card=card, organ_seg=parts.eval())
    trained = bool(files.llava_med and files.medsam and folders.adapter) and heads.card.trained
    card = replace(card, trained=trained, text_encoder_sha256=heads.card.text_encoder_sha256)
    organ_seg = OrganSeg(preset, parts.vision_language, parts.segmenter, heads.extractors).eval()
    return Checkpoint(card, organ_seg, heads.cache)


@dataclass(frozen=True)
class _Heads:
    card: CheckpointCard
    extractors: Extractors
    cache: context_cache.ContextCache


def _load_heads(folders: PartFolders, preset: Preset) -> _Heads:
    """Both heads with their context cache; a card beside them must fit."""
    assert folders.heads is not None
    folder = folders.heads
    for name in (EXTRACTORS_FILE, context_cache.FILE_NAME):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"wanted {name} in {folder}, found none: give the folder that holds both heads and "
                "the context cache, such as a training's checkpoint"
            )
    cache = load_context_cache(folder / context_cache.FILE_NAME)
    card = CheckpointCard(preset.name, True, cache.encoder_sha256, folder.name)
    if (folder / CARD_FILE).is_file():
        card = load_card(folder)
        if card.preset != preset.name:
            raise CheckpointError(
                f"wanted heads of the preset {preset.name!r}, got those of {card.preset!r} in "
                f"{folder}: choose --preset {card.preset}, or other heads"
            )
        cache.require_encoder(card.text_encoder_sha256)
    if folders.adapter is None and (folder / ADAPTER_FOLDER).is_dir():
        raise CheckpointError(
            f"wanted the adapter that the heads in {folder} were trained with, got none: give "
            f"{folder / ADAPTER_FOLDER} as the adapter, too"
        )
    extractors = Extractors(preset.extractors, preset.vision_language, cache)
    load_state(extractors, folder / EXTRACTORS_FILE)
    return _Heads(card, extractors, cache)
