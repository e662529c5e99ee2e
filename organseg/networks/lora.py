"""LoRA on the language model's query and value projections, by PEFT.

The pattern names the language model on purpose: the bare names `q_proj` and `v_proj` also
match the CLIP tower, which the paper keeps frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from organseg.errors import CheckpointError
from organseg.networks.vision_language import VisionLanguage
from organseg.networks.weight_files import read_shapes

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
"""The names that PEFT gives an adapter's files."""
TARGET_MODULES = r".*language_model.*\.(q_proj|v_proj)"
"""The modules that are adapted, as PEFT's regular expression over module names."""


def add_lora(llava: LlavaForConditionalGeneration, *, rank: int = 8, alpha: int = 16) -> PeftModel:
    """The model with fresh adapters: only their weights take gradients."""
    return get_peft_model(
        llava, LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGET_MODULES)
    )


def load_lora(llava: LlavaForConditionalGeneration, folder: Path) -> PeftModel:
    """The model with an adapter saved in PEFT's own format.

    Every weight of the file must find its place, and every adapted place its weights: PEFT
    itself would leave the rest untrained and only warn.

    Raises:
        CheckpointError: the folder holds no adapter, or one of another width, or for other
            modules; the message says which.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"wanted a PEFT adapter ({CONFIG_FILE}) in {folder}, found none: "
            "give the folder that `save_pretrained` wrote"
        )
    if not (folder / WEIGHTS_FILE).is_file():
        raise CheckpointError(
            f"wanted the adapter's weights ({WEIGHTS_FILE}) in {folder}, found none: save it with "
            "`save_pretrained`, whose files are safetensors"
        )
    came = read_shapes(folder / WEIGHTS_FILE)
    _demand_width(llava, came, folder)
    try:
        adapted = PeftModel.from_pretrained(llava, str(folder))
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(
            f"wanted an adapter for this language model, got one that does not fit: {error}"
        ) from error
    wanted = set(get_peft_model_state_dict(adapted))
    missing, unknown = sorted(wanted - set(came)), sorted(set(came) - wanted)
    if missing or unknown:
        raise CheckpointError(
            f"wanted weights for every module that the adapter in {folder} is put on, got "
            f"{len(missing)} missing ({missing[:1]}) and {len(unknown)} unknown ({unknown[:1]}): "
            "it was trained on a model whose modules have other names; train it again with "
            "`python -m organseg.training extractors`"
        )
    return adapted


def _demand_width(
    llava: LlavaForConditionalGeneration, came: dict[str, tuple[int, ...]], folder: Path
) -> None:
    """Raises `CheckpointError` that names both widths, where an adapter is of another one."""
    text: Any = llava.config.text_config
    wanted = int(text.hidden_size)
    # A query projection reads the language model's own width, whatever its heads are.
    widths = {
        shape[-1]
        for name, shape in came.items()
        if ".language_model." in name and name.endswith(".q_proj.lora_A.weight")
    }
    if widths - {wanted}:
        got = ", ".join(str(width) for width in sorted(widths))
        raise CheckpointError(
            f"wanted an adapter for a language model of width {wanted}, the one in {folder} does "
            f"not fit: it is for width {got}. Give the adapter that was trained on this model, or "
            "choose the preset that it was trained with"
        )


def base_weights(llava: nn.Module) -> dict[str, Tensor]:
    """What merging will change: the weights under the adapter, by their names in the plain model.

    They are the model's own tensors, not copies; none where there is no adapter, or it is merged.
    """
    base: Any = llava.get_base_model() if isinstance(llava, PeftModel) else llava
    return {
        name.replace(".base_layer.", "."): weight.detach()
        for name, weight in base.state_dict().items()
        if ".base_layer." in name
    }


@torch.no_grad()
def put_back_base_weights(llava: nn.Module, path: Path) -> None:
    """Undoes a merge, in place, with the weights that `base_weights` gave before it.

    Args:
        llava: the plain model, the adapter merged.
        path: the safetensors file with the weights; they are taken in the model's own type.

    Raises:
        CheckpointError: the file is missing or damaged, or holds weights of another model.
    """
    try:
        weights = load_file(str(path))
        _, unknown = llava.load_state_dict(weights, strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"wanted the weights under the adapter in {path.name}, got a file that does not fit: "
            f"{error}"
        ) from error
    if unknown:
        raise CheckpointError(
            f"wanted weights of this language model in {path.name}, got {len(unknown)} of another "
            f"({sorted(unknown)[:1]}): export the release again"
        )


def merge_lora(adapted: PeftModel) -> LlavaForConditionalGeneration:
    """The plain model with the adapters folded into its weights.

    Merged in the weights' own type (load them in float32), with PEFT's check for broken
    values, which stops at the first layer that would turn to NaN.
    """
    merged: LlavaForConditionalGeneration = adapted.merge_and_unload(safe_merge=True)
    return merged


def merge_adapter(vision_language: VisionLanguage) -> None:
    """Folds an adapter into its language model, in place; without one, nothing changes."""
    if isinstance(vision_language.llava, PeftModel):
        vision_language.llava = merge_lora(vision_language.llava)
