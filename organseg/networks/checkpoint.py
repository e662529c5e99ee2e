"""Checkpoints: the folder that training writes and export reads.

CHECKPOINT/
  organ_seg.json                what it is: preset, whether it was trained, text encoder
  vision_language/              base model in transformers' format, with tokenizer.json
  adapter/                      LoRA in PEFT's own format (left out where there is none)
  segmenter.safetensors         under segment-anything's key names
  extractors.safetensors        both heads
  context_cache.safetensors     prototypes, temperature, thresholds
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlavaForConditionalGeneration

from organseg.contract.presets import Preset, VisionLanguageSize
from organseg.errors import CheckpointError
from organseg.networks import context_cache, lora
from organseg.networks.context_cache import ContextCache, load_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.prompt import PromptBuilder, load_tokenizer
from organseg.networks.segmenter import Segmenter
from organseg.networks.transformers_output import quiet_transformers
from organseg.networks.vision_language import VisionLanguage, check_sizes

CARD_FILE = "organ_seg.json"
VISION_LANGUAGE_FOLDER = "vision_language"
ADAPTER_FOLDER = "adapter"
SEGMENTER_FILE = "segmenter.safetensors"
EXTRACTORS_FILE = "extractors.safetensors"
TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class CheckpointCard:
    """What a checkpoint says of itself."""

    preset: str
    """The preset whose sizes it has."""
    trained: bool
    """False for seeded random weights, which answer nothing sensible."""
    text_encoder_sha256: str
    """The text encoder that the heads were trained with; the cache must be of the same."""
    description: str
    """Where the weights come from, for people."""
    talks: bool = True
    """Whether the base weights write sentences; false for a stand-in that was never taught to: its
    explanations then consist of what follows from the verdict."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint."""

    card: CheckpointCard
    """What it is."""
    organ_seg: OrganSeg
    """All parts, in evaluation mode; LoRA not merged."""
    cache: ContextCache
    """The context cache, which is also in the extractors."""


def save_checkpoint(
    checkpoint: Checkpoint, folder: Path, *, dtype: torch.dtype | None = None
) -> None:
    """Writes all parts; an adapter goes to its own folder, beside the plain base model.

    Args:
        checkpoint: what to write.
        folder: where to.
        dtype: the type that floating-point weights are stored in, such as `torch.float16` to
            halve the size; by default their own. The adapter keeps its own in any case.
            `load_checkpoint` reads them back as float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    organ_seg = checkpoint.organ_seg
    llava: Any = organ_seg.vision_language.llava
    if hasattr(llava, "get_base_model"):
        llava.save_pretrained(str(folder / ADAPTER_FOLDER))
        # PEFT adds an empty form of a model card; the checkpoint's own card says what this is.
        (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)
    else:
        # One of an earlier save would be put on weights that it does not belong to.
        shutil.rmtree(folder / ADAPTER_FOLDER, ignore_errors=True)
    save_vision_language(organ_seg.vision_language, folder / VISION_LANGUAGE_FOLDER, dtype=dtype)
    save_file(_plain_state(organ_seg.segmenter, dtype), str(folder / SEGMENTER_FILE))
    save_file(_plain_state(organ_seg.extractors, dtype), str(folder / EXTRACTORS_FILE))
    checkpoint.cache.save(folder / context_cache.FILE_NAME)
    card = json.dumps(asdict(checkpoint.card), indent=2)
    (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, preset: Preset) -> Checkpoint:
    """Reads all parts; raises `CheckpointError` that names the part that is missing or misfits."""
    card = load_card(folder)
    if card.preset != preset.name:
        raise CheckpointError(
            f"wanted a checkpoint of the preset {preset.name!r}, got one of {card.preset!r}: "
            f"export it with --preset {card.preset}"
        )
    cache = load_context_cache(folder / context_cache.FILE_NAME)
    cache.require_encoder(card.text_encoder_sha256)
    vision_language = load_vision_language(folder / VISION_LANGUAGE_FOLDER, preset.vision_language)
    if (folder / ADAPTER_FOLDER).is_dir():
        base = cast(LlavaForConditionalGeneration, vision_language.llava)
        vision_language.llava = lora.load_lora(base, folder / ADAPTER_FOLDER)
    segmenter = Segmenter(preset.segmenter)
    load_state(segmenter, folder / SEGMENTER_FILE)
    extractors = Extractors(preset.extractors, preset.vision_language, cache)
    load_state(extractors, folder / EXTRACTORS_FILE)
    organ_seg = OrganSeg(preset, vision_language, segmenter, extractors).eval()
    return Checkpoint(card, organ_seg, cache)


def save_vision_language(
    vision_language: VisionLanguage, folder: Path, *, dtype: torch.dtype | None = None
) -> None:
    """Writes the plain vision-language model: what the server's `llava_med` loads.

    An adapter that was not merged is left out; the model in memory stays as it is. `dtype` as
    in `save_checkpoint`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    llava: Any = vision_language.llava
    if hasattr(llava, "get_base_model"):
        llava = llava.get_base_model()
    # PEFT keeps the plain weight of an adapted layer under `base_layer`.
    plain = {
        name.replace(".base_layer.", "."): weight
        for name, weight in llava.state_dict().items()
        if ".lora_" not in name
    }
    if dtype is not None:
        # Tied weights are one tensor under two names, and must stay one.
        made: dict[int, torch.Tensor] = {}
        plain = {
            name: made.setdefault(weight.data_ptr(), _stored(weight, dtype))
            for name, weight in plain.items()
        }
    with quiet_transformers():
        llava.save_pretrained(str(folder), state_dict=plain)
    vision_language.prompts.tokenizer.save(str(folder / TOKENIZER_FILE))


def load_vision_language(
    folder: Path, size: VisionLanguageSize, *, dtype: torch.dtype = torch.float32
) -> VisionLanguage:
    """Reads a vision-language model in transformers' format, in evaluation mode.

    Raises:
        CheckpointError: a file is missing, or the sizes are not the preset's.
    """
    try:
        with quiet_transformers():
            loaded: Any = LlavaForConditionalGeneration.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True, output_loading_info=True
            )
        llava, report = loaded
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"wanted a LLaVA model in transformers' format in {folder}, could not load one: {error}"
        ) from error
    if report["missing_keys"] or report["unexpected_keys"]:
        raise CheckpointError(
            f"wanted every weight once, got {len(report['missing_keys'])} missing "
            f"({sorted(report['missing_keys'])[:3]}) and {len(report['unexpected_keys'])} "
            f"unexpected ({sorted(report['unexpected_keys'])[:3]}): convert the checkpoint again"
        )
    check_sizes(llava.config, size)
    # A path of this machine, which PEFT would write into an adapter.
    llava.name_or_path = ""
    prompts = PromptBuilder(
        load_tokenizer(folder / TOKENIZER_FILE),
        bos_id=llava.config.text_config.bos_token_id,
        eos_id=llava.config.text_config.eos_token_id,
        image_id=llava.config.image_token_id,
        patches=size.patches,
        max_tokens=size.max_tokens,
    )
    return VisionLanguage(llava, prompts, size).eval()


def load_card(folder: Path) -> CheckpointCard:
    """What the checkpoint in a folder says of itself; raises `CheckpointError` without a card."""
    try:
        return CheckpointCard(**json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"wanted a checkpoint folder with {CARD_FILE}, got {folder} ({error}): give the "
            "folder that training wrote"
        ) from error


def _plain_state(module: nn.Module, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    return {name: _stored(tensor, dtype) for name, tensor in module.state_dict().items()}


def _stored(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    plain = tensor.detach().contiguous()
    return plain.to(dtype) if dtype is not None and plain.is_floating_point() else plain


def load_state(module: nn.Module, path: Path) -> None:
    """Fills a module from a safetensors file; raises `CheckpointError` where they do not fit."""
    try:
        module.load_state_dict(load_file(str(path)), strict=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"wanted weights of {type(module).__name__} in {path.name}, got a file that does "
            f"not fit: {error}"
        ) from error
