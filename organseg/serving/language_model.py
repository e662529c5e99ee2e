"""Loads a release's language model as its config says: the weights' type, and where it goes."""

from __future__ import annotations

from pathlib import Path

import torch

from organseg.contract import LanguageModel, Placement, default_weights
from organseg.networks.checkpoint import load_vision_language
from organseg.networks.lora import put_back_base_weights
from organseg.networks.placement import place_on_one, plan, spread, visible_gpus
from organseg.networks.quantisation import working_type
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.stage import StageContext
from organseg.serving.threads import limit_torch_threads


def load_language_model(
    context: StageContext, folder: Path, *, base_weights: Path | None = None
) -> tuple[VisionLanguage, torch.device]:
    """The model where it computes, and the device that wants the pixels.

    Where the config says nothing: float32 on a CPU, bfloat16 on a GPU, one of them. Sets torch's
    threads to the stage's.

    Args:
        context: what the stage was given.
        folder: the merged model, in transformers' format.
        base_weights: the file that undoes the merge, where the base is wanted.

    Raises:
        CheckpointError: the model's files do not fit.
        EngineError: bitsandbytes is wanted and missing, or the GPUs cannot hold the model.
    """
    limit_torch_threads(context.threads)
    chosen = context.language_model or LanguageModel(
        default_weights(on_gpu=context.device != "cpu")
    )
    model = load_vision_language(
        folder, context.preset.vision_language, dtype=working_type(chosen.weights)
    )
    if base_weights:
        # Before they are quantised: these are rounded as the others are.
        put_back_base_weights(model.llava, base_weights)
    if chosen.placement is Placement.SPREAD:
        device_map = plan(model, chosen.weights, visible_gpus())
        return model, spread(model, chosen.weights, device_map)
    return model, place_on_one(model, chosen.weights, context.device)
