"""The export's options for the language model, at hand before torch is imported."""

from __future__ import annotations

import argparse

from organseg.contract import (
    LanguageModel,
    LanguageModelWeights,
    Placement,
    Platform,
    default_weights,
)
from organseg.errors import ReleaseError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--language-model` and `--placement`."""
    parser.add_argument(
        "--language-model",
        choices=[each.value for each in LanguageModelWeights],
        help="what the language model's weights are served in (default: bf16 on a GPU, fp32 on a "
        "CPU): int8 and int4 keep its linear layers in 8 or 4 bits, all else in fp16, and want "
        "organseg[quantised]. Trained weights are released so only if verdicts are those of "
        "float32 and masks agree with them; docs/memory.md says what fits which GPU",
    )
    parser.add_argument(
        "--placement",
        choices=[each.value for each in Placement],
        default=Placement.ONE.value,
        help="the GPUs that hold the language model (default: one): one, or spread over all that "
        "the server sees",
    )


def chosen_language_model(options: argparse.Namespace, platform: Platform) -> LanguageModel | None:
    """What was chosen; none where nothing was.

    Raises `ReleaseError` where a platform without a GPU is to spread the model over several.
    """
    placement = Placement(options.placement)
    if placement is Placement.SPREAD and not platform.has_gpu:
        raise ReleaseError(
            f"wanted a GPU platform for --placement spread, got {platform.value}: leave it out, or "
            "choose another --platform"
        )
    if options.language_model is None and placement is Placement.ONE:
        return None
    return LanguageModel(
        LanguageModelWeights(options.language_model)
        if options.language_model
        else default_weights(on_gpu=platform.has_gpu),
        placement,
    )
