"""LLaVA-Med and MedSAM as their authors publish them: what stage 1 of training starts from.

- LLaVA-Med v1.5: Microsoft's folder (`config.json` of a `LlavaMistralForCausalLM`, safetensors
  in one file or many). Its research licence puts any deployed use out of scope.
- MedSAM: `medsam_vit_b.pth`, a plain SAM state dict.

Weights are streamed, one tensor at a time, into a model that was laid out without memory, and
every weight must come exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from organseg.contract.presets import Preset, SegmenterSize, VisionLanguageSize
from organseg.errors import CheckpointError
from organseg.networks.build import IMAGE_TOKEN, build_organ_seg
from organseg.networks.checkpoint import TOKENIZER_FILE, Checkpoint, CheckpointCard
from organseg.networks.context_cache import default_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.prompt import PromptBuilder, load_tokenizer
from organseg.networks.segmenter import Segmenter
from organseg.networks.vision_language import VisionLanguage, llava_config

_RENAMED = (
    ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
)
"""Microsoft's key prefixes and transformers' own; the first that fits counts."""
_DROPPED = ("rotary_emb.inv_freq", "position_ids", "image_newline")
"""Endings of keys that hold nothing learned, or nothing that v1.5 uses."""
_PADDED = ("model.language_model.embed_tokens.weight", "lm_head.weight")
"""Weights with a row for each token: they grow by the rows of the image token and its padding."""
_PROJECTOR = "mlp2x_gelu"


@dataclass(frozen=True)
class OriginalFiles:
    """Where the originals lie."""

    llava_med: Path | None = None
    """LLaVA-Med's folder."""
    medsam: Path | None = None
    """MedSAM's `.pth` file."""


def original_checkpoint(
    files: OriginalFiles, preset: Preset, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """The originals with fresh extractor heads: the paper's state before fine-tuning.

    Args:
        files: the originals; a part without one gets seeded random weights.
        preset: the sizes, which the originals must have.
        seed: of the heads.
        dtype: the type that the language model is kept in; heads and segmenter are float32.

    Raises:
        CheckpointError: a file is missing or damaged, a size differs from the preset's, or a
            weight is missing or unknown; the message names it.
    """
    cache = default_context_cache()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractors = Extractors(preset.extractors, preset.vision_language, cache)
    vision_language = (
        load_llava_med(files.llava_med, preset.vision_language, dtype=dtype)
        if files.llava_med
        else build_organ_seg(preset, seed=seed).vision_language
    )
    segmenter = (
        load_medsam(files.medsam, preset.segmenter)
        if files.medsam
        else (build_organ_seg(preset, seed=seed).segmenter)
    )
    named = [path.name for path in (files.llava_med, files.medsam) if path]
    card = CheckpointCard(
        preset=preset.name,
        trained=False,
        text_encoder_sha256=cache.encoder_sha256,
        description=f"{' and '.join(named)}, all else of seed {seed}",
    )
    return Checkpoint(card, OrganSeg(preset, vision_language, segmenter, extractors).eval(), cache)


def load_llava_med(
    folder: Path, size: VisionLanguageSize, *, dtype: torch.dtype = torch.float32
) -> VisionLanguage:
    """LLaVA-Med from Microsoft's layout, with the vision tower that the checkpoint itself holds.

    Microsoft's own loader takes OpenAI's tower instead and leaves the fine-tuned one aside.

    Raises:
        CheckpointError: as `original_checkpoint`.
    """
    config = _read_config(folder)
    _demand_sizes(config, size, folder)
    tokenizer = _read_tokenizer(folder)
    tokenizer.add_special_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)])
    # Just added, so it is there.
    image_id: int = tokenizer.token_to_id(IMAGE_TOKEN)  # type: ignore[assignment]
    wanted = llava_config(size, image_token_id=image_id)
    text: Any = wanted.text_config
    for name in ("rms_norm_eps", "rope_theta", "bos_token_id", "eos_token_id", "sliding_window"):
        if name in config:
            setattr(text, name, config[name])
    if "rope_theta" in config:
        # transformers 5 reads the frequencies from here.
        text.rope_parameters = {"rope_type": "default", "rope_theta": config["rope_theta"]}
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(wanted)
    _put(llava, _renamed(_shards(folder), size.vocabulary), folder.name, dtype)
    prompts = PromptBuilder(
        tokenizer,
        bos_id=text.bos_token_id,
        image_id=image_id,
        patches=size.patches,
        max_tokens=size.max_tokens,
    )
    return VisionLanguage(llava, prompts, size).eval()


def load_medsam(path: Path, size: SegmenterSize) -> Segmenter:
    """MedSAM, or any SAM of these sizes, from its `.pth` file; nothing in it is executed.

    Raises:
        CheckpointError: as `original_checkpoint`.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise CheckpointError(
            f"wanted MedSAM's weights in {path.name}, could not read them ({error}): give "
            "medsam_vit_b.pth as it is published"
        ) from error
    if not isinstance(weights, dict):
        raise CheckpointError(
            f"wanted a state dict in {path.name}, got a {type(weights).__name__}: give "
            "medsam_vit_b.pth as it is published"
        )
    segmenter = Segmenter(size)
    # SAM's own statistics: MedSAM's pre-processing does not use them.
    found = {name: w for name, w in weights.items() if name not in ("pixel_mean", "pixel_std")}
    try:
        segmenter.load_state_dict(found, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"wanted SAM's weights of the preset's sizes in {path.name}, got others: {error}"
        ) from error
    return segmenter.eval()


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"wanted LLaVA-Med's config.json in {folder.name}, got {error}: give the folder as "
            "it is published"
        ) from error
    return config


def _read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's `tokenizer.json`, or its `tokenizer.model` converted by transformers."""
    if (folder / TOKENIZER_FILE).is_file():
        return load_tokenizer(folder / TOKENIZER_FILE)
    try:
        found: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        converted: Tokenizer = found.backend_tokenizer
    except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"wanted {TOKENIZER_FILE} in {folder.name}, or a tokenizer.model that transformers "
            f"converts (install sentencepiece), got neither ({type(error).__name__}): copy "
            "Mistral-7B's tokenizer.json there"
        ) from error
    return converted


def _demand_sizes(config: dict[str, Any], size: VisionLanguageSize, folder: Path) -> None:
    """What the checkpoint says must be what the preset fixes; nothing is assumed in silence."""
    wanted = {
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "intermediate_size": size.mlp,
        "mm_projector_type": _PROJECTOR,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
    }
    wrong = [
        f"{name} {value!r}, got {config.get(name, 'nothing')!r}"
        for name, value in wanted.items()
        if config.get(name) != value
    ]
    if wrong:
        raise CheckpointError(
            f"wanted in config.json of {folder.name}: {'; '.join(wrong)}. Choose the preset that "
            "fits the checkpoint"
        )


def _shards(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every safetensors file, read one at a time."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise CheckpointError(
            f"wanted *.safetensors files in {folder.name}, found none: give the folder as it is "
            "published"
        )
    for path in paths:
        try:
            with safe_open(str(path), framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dictionary
                    yield name, file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"wanted a safetensors file, {path.name} is not one ({error}): copy it again"
            ) from error


def _renamed(tensors: Iterator[tuple[str, Tensor]], tokens: int) -> Iterator[tuple[str, Tensor]]:
    for original, tensor in tensors:
        if original.endswith(_DROPPED):
            continue
        name = original
        for before, after in _RENAMED:
            if original.startswith(before):
                name = after + original.removeprefix(before)
                break
        if name in _PADDED and len(tensor) < tokens:
            # New tokens begin as an average one; the image token's row is never read.
            average = tensor.float().mean(dim=0, keepdim=True).to(tensor.dtype)
            tensor = torch.cat([tensor, average.expand(tokens - len(tensor), -1)])
        yield name, tensor


def _put(
    model: nn.Module, tensors: Iterator[tuple[str, Tensor]], source: str, dtype: torch.dtype
) -> None:
    """Gives a model without memory its weights, each exactly once."""
    waiting = {name: weight.shape for name, weight in model.state_dict().items()}
    unexpected: list[str] = []
    for name, tensor in tensors:
        shape = waiting.pop(name, None)
        if shape != tensor.shape:
            unexpected.append(f"{name} {tuple(tensor.shape)}")
            continue
        model.load_state_dict({name: tensor.to(dtype)}, strict=False, assign=True)
    if waiting or unexpected:
        raise CheckpointError(
            f"wanted every weight of {source} once, got {len(waiting)} missing "
            f"({sorted(waiting)[:3]}) and {len(unexpected)} unexpected ({sorted(unexpected)[:3]}): "
            "this is another model, or a file is missing"
        )
    for module in model.modules():
        _make_buffers(module)


def _make_buffers(module: nn.Module) -> None:
    """Makes the buffers anew that no checkpoint stores: positions, rotary frequencies."""
    for name, buffer in list(module.named_buffers(recurse=False)):
        if not buffer.is_meta:
            continue
        if name == "position_ids":
            made = torch.arange(buffer.shape[-1]).expand(buffer.shape)
        elif name.endswith("inv_freq"):
            own: Any = module
            made = getattr(type(own)(own.config), name)
        else:
            raise CheckpointError(
                f"wanted to know how to make the buffer {name} of {type(module).__name__}, "
                "did not: use the version of transformers in constraints/"
            )
        module.register_buffer(name, made, persistent=False)
