"""LoRA on the language model's query and value projections, by PEFT.

The pattern names the language model on purpose: the bare names `q_proj` and `v_proj` also
match the CLIP tower, which the paper keeps frozen.
"""

from __future__ import annotations

from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlavaForConditionalGeneration

from organseg.errors import CheckpointError
from organseg.networks.vision_language import VisionLanguage

TARGET_MODULES = r".*language_model.*\.(q_proj|v_proj)"
"""The modules that are adapted, as PEFT's regular expression over module names."""


def add_lora(llava: LlavaForConditionalGeneration, *, rank: int = 8, alpha: int = 16) -> PeftModel:
    """The model with fresh adapters: only their weights take gradients."""
    return get_peft_model(
        llava, LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGET_MODULES)
    )


def load_lora(llava: LlavaForConditionalGeneration, folder: Path) -> PeftModel:
    """The model with an adapter saved in PEFT's own format.

    Raises:
        CheckpointError: the folder holds no adapter, or one that does not fit the model.
    """
    if not (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"wanted a PEFT adapter (adapter_config.json) in {folder}, found none: "
            "give the folder that `save_pretrained` wrote"
        )
    try:
        return PeftModel.from_pretrained(llava, str(folder))
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"wanted an adapter for this language model, got one that does not fit: {error}"
        ) from error


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
