"""LLaVA-Med and MedSAM as their authors publish them: what stage 1 of training starts from.

- LLaVA-Med v1.5: Microsoft's folder (`config.json` of a `LlavaMistralForCausalLM`, safetensors
  in one file or many). Its research licence puts any deployed use out of scope.
- another CLIP vision tower, where one is wanted: OpenAI's folder for transformers.
- MedSAM: `networks.original_segmenter`.

Weights are streamed, one tensor at a time, into a model that was laid out without memory, and
every weight must come exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from organseg.contract.presets import Preset, VisionLanguageSize
from organseg.errors import CheckpointError
from organseg.networks.build import IMAGE_TOKEN, build_organ_seg
from organseg.networks.checkpoint import TOKENIZER_FILE, Checkpoint, CheckpointCard
from organseg.networks.context_cache import default_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.original_segmenter import load_medsam
from organseg.networks.prompt import PromptBuilder, load_tokenizer
from organseg.networks.vision_language import VisionLanguage, llava_config
from organseg.networks.weight_files import read_pickle, read_shards

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
_TOWER = "model.vision_tower."
_CLIP_TOWER = "vision_model."
_CLIP_REST = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
"""What a whole CLIP holds beside its vision tower."""
_PICKLE = "pytorch_model.bin"


@dataclass(frozen=True)
class OriginalFiles:
    """Where the originals lie."""

    llava_med: Path | None = None
    """LLaVA-Med's folder."""
    medsam: Path | None = None
    """MedSAM's `.pth` file, or its folder for transformers."""
    vision_tower: Path | None = None
    """A CLIP's folder, whose vision tower is taken instead of LLaVA-Med's own."""


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
    if files.vision_tower and not files.llava_med:
        raise CheckpointError(
            f"wanted LLaVA-Med beside the vision tower {files.vision_tower.name}, got the tower "
            "alone: give both, or neither"
        )
    cache = default_context_cache()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractors = Extractors(preset.extractors, preset.vision_language, cache)
    vision_language = (
        load_llava_med(
            files.llava_med, preset.vision_language, vision_tower=files.vision_tower, dtype=dtype
        )
        if files.llava_med
        else build_organ_seg(preset, seed=seed).vision_language
    )
    segmenter = (
        load_medsam(files.medsam, preset.segmenter)
        if files.medsam
        else (build_organ_seg(preset, seed=seed).segmenter)
    )
    named = [path.name for path in (files.llava_med, files.vision_tower, files.medsam) if path]
    card = CheckpointCard(
        preset=preset.name,
        trained=False,
        text_encoder_sha256=cache.encoder_sha256,
        description=f"{' and '.join(named)}, all else of seed {seed}",
    )
    return Checkpoint(card, OrganSeg(preset, vision_language, segmenter, extractors).eval(), cache)


def load_llava_med(
    folder: Path,
    size: VisionLanguageSize,
    *,
    vision_tower: Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> VisionLanguage:
    """LLaVA-Med from Microsoft's layout, by default with the vision tower that it holds itself.

    Microsoft's own loader takes OpenAI's tower instead and leaves the fine-tuned one aside;
    `vision_tower`, a CLIP's folder, does the same on purpose. Memory: the model, and one file of
    weights at most.

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
    tensors = read_shards(folder)
    if vision_tower:
        own = (pair for pair in tensors if not pair[0].startswith(_TOWER))
        tensors = chain(own, _read_clip(vision_tower))
    put_llava_med(llava, tensors, size, folder.name, dtype)
    prompts = PromptBuilder(
        tokenizer,
        bos_id=text.bos_token_id,
        eos_id=text.eos_token_id,
        image_id=image_id,
        patches=size.patches,
        max_tokens=size.max_tokens,
    )
    return VisionLanguage(llava, prompts, size).eval()


def put_llava_med(
    llava: LlavaForConditionalGeneration,
    tensors: Iterator[tuple[str, Tensor]],
    size: VisionLanguageSize,
    source: str,
    dtype: torch.dtype,
) -> None:
    """Gives a model without memory the weights that Microsoft's files hold, each exactly once.

    Args:
        llava: the model, on the meta device.
        tensors: the weights under Microsoft's names; one at a time is taken from it.
        size: the preset's sizes; a smaller vocabulary grows to its.
        source: what the weights are called in messages.
        dtype: the type that they are kept in.

    Raises:
        CheckpointError: a weight is missing, unknown, or of another shape.
    """
    _put(llava, _renamed(tensors, size.vocabulary), source, dtype)


def _read_clip(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """A CLIP's vision tower under the names that Microsoft's files give it."""
    if (folder / _PICKLE).is_file() and not list(folder.glob("*.safetensors")):
        tensors = iter(read_pickle(folder / _PICKLE, f"CLIP's {_PICKLE}").items())
    else:
        tensors = read_shards(folder)
    for name, tensor in tensors:
        if not name.startswith(_CLIP_REST):
            own = name.removeprefix(_CLIP_TOWER)
            yield f"{_TOWER}vision_tower.{_CLIP_TOWER}{own}", tensor


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
    if waiting and all(name.startswith(_TOWER) for name in waiting) and not unexpected:
        raise CheckpointError(
            f"wanted a vision tower of the preset's sizes for {source}, got {len(waiting)} of its "
            f"weights missing ({sorted(waiting)[:3]}): name a CLIP that has them as --vision-tower"
        )
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
