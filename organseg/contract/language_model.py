"""How a release's language model is served: the type of its weights, and on how many GPUs.

Both are chosen when a release is made, written into the stage's config and read by the server when
it loads the model. Why these, and how they are made: docs/decisions/0016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from organseg.errors import ContractError

WEIGHTS_PARAMETER = "weights"
"""The parameter of the stage's config that names the weights' type."""
PLACEMENT_PARAMETER = "placement"
"""The parameter that says whether one GPU holds the model or several do."""


class LanguageModelWeights(Enum):
    """What the linear layers of the language model's decoder are kept in."""

    FP32 = "fp32"
    """float32 throughout."""
    BF16 = "bf16"
    """bfloat16 throughout: float32's range with 8 bits of precision."""
    FP16 = "fp16"
    """float16 throughout: 11 bits of precision, overflows beyond 65,504."""
    INT8 = "int8"
    """8 bits for the decoder's linear layers, float16 for all else."""
    INT4 = "int4"
    """4 bits for the decoder's linear layers, float16 for all else."""

    @property
    def is_quantised(self) -> bool:
        """Whether the decoder's linear layers are kept in integers."""
        return self in (LanguageModelWeights.INT8, LanguageModelWeights.INT4)


class Placement(Enum):
    """Which GPUs hold the language model."""

    ONE = "one"
    """The GPU that Triton gives the instance."""
    SPREAD = "spread"
    """All that the server sees, some layers each."""


def default_weights(*, on_gpu: bool) -> LanguageModelWeights:
    """What a model is served in when nobody chose: bfloat16 on a GPU, float32 on a CPU."""
    return LanguageModelWeights.BF16 if on_gpu else LanguageModelWeights.FP32


@dataclass(frozen=True)
class LanguageModel:
    """How the language model of a release is served."""

    weights: LanguageModelWeights
    """The type of its weights."""
    placement: Placement = Placement.ONE
    """Which GPUs hold it."""

    @property
    def parameters(self) -> dict[str, str]:
        """What the stage's config says of it; `language_model_in` reads it back."""
        return {
            WEIGHTS_PARAMETER: self.weights.value,
            PLACEMENT_PARAMETER: self.placement.value,
        }


def language_model_in(parameters: Mapping[str, str]) -> LanguageModel | None:
    """What a stage's config says of the language model; none where it names no weights.

    Raises `ContractError` where it names what this version does not know.
    """
    if WEIGHTS_PARAMETER not in parameters:
        return None
    try:
        return LanguageModel(
            LanguageModelWeights(parameters[WEIGHTS_PARAMETER]),
            Placement(parameters.get(PLACEMENT_PARAMETER, Placement.ONE.value)),
        )
    except ValueError as error:
        raise ContractError(
            f"wanted weights of {', '.join(each.value for each in LanguageModelWeights)} placed "
            f"{' or '.join(each.value for each in Placement)}, got a config with {error}: export "
            "the release again with this version of organseg"
        ) from error
