"""The export's options for the language model, at hand before torch is imported."""

from __future__ import annotations

import argparse

from organseg.contract import (
    EXPLAIN_NAME,
    PRESETS,
    Explanations,
    LanguageModel,
    LanguageModelWeights,
    Placement,
    Platform,
    default_weights,
)
from organseg.contract.memory import stage_weight_bytes
from organseg.errors import ReleaseError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--language-model`, `--placement` and `--explanations`."""
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
    parser.add_argument(
        "--explanations",
        choices=[each.value for each in Explanations],
        default=Explanations.INCLUDE.value,
        help="whether the release can write its answers out in words (default: include): that "
        "takes a second copy of the language model, without its adapter, in a process of its own: "
        f"{_cost()}; without a GPU, from the first request for an explanation on",
    )


def _cost() -> str:
    """What the copies take, preset by preset, in what each is served in by default."""
    costs = {
        preset.name: [
            stage_weight_bytes(preset, EXPLAIN_NAME, default_weights(on_gpu=on_gpu))
            for on_gpu in (False, True)
        ]
        for preset in PRESETS.values()
    }
    said = (
        f"{name} {in_memory / 2**20:,.0f} MiB on a CPU or {on_gpu / 2**20:,.0f} MiB on a GPU"
        for name, (in_memory, on_gpu) in costs.items()
    )
    return "; ".join(said)


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
