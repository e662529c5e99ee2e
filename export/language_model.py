"""The language model of a release: how it is stored, and as the server will compute it.

A release keeps the weights unquantised, and the server quantises them when it loads them. So one
code makes what is accepted here and what is served, whatever the device (docs/decisions/0016).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from organseg.contract import LanguageModel, LanguageModelWeights
from organseg.networks.lora import base_weights
from organseg.networks.placement import place_on_one
from organseg.networks.quantisation import working_type
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.stages.llava_med_explain import BASE_WEIGHTS_FILE, TALKS


def stored_type(language_model: LanguageModel | None) -> torch.dtype | None:
    """The type that a release stores the weights in; none keeps their own, where nobody chose."""
    return working_type(language_model.weights) if language_model else None


def put_base_weights(
    vision_language: VisionLanguage,
    folder: Path,
    dtype: torch.dtype | None,
    *,
    talks: bool = True,
) -> None:
    """Writes what the adapter's merge is about to change, for the model that explains.

    Without an adapter there is nothing to change, and the file holds no weights.

    Args:
        vision_language: the model, its adapter not yet merged.
        folder: where the file goes.
        dtype: the type that the release stores the other weights in; none for their own.
        talks: whether the base weights write sentences; kept in the file's metadata.
    """
    weights = {
        name: weight.to(dtype or weight.dtype).contiguous()
        for name, weight in base_weights(vision_language.llava).items()
    }
    save_file(weights, str(folder / BASE_WEIGHTS_FILE), metadata={TALKS: json.dumps(talks)})


def served_as(vision_language: VisionLanguage, weights: LanguageModelWeights) -> VisionLanguage:
    """A copy of a merged float32 model that computes as the server's does, on the CPU.

    Raises `EngineError` where the weights want bitsandbytes and it is not installed.
    """
    served = copy.deepcopy(vision_language).to(working_type(weights))
    # Normalised in float32 whatever the weights are, as in the server.
    served.mean, served.deviation = vision_language.mean, vision_language.deviation
    place_on_one(served, weights, "cpu")
    return served
