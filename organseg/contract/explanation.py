"""`llava_med_explain`: the model beside the flow that writes an answer out in words, in a stream.

It reads what the ensemble reads and what the ensemble answered, under the same names, so a client
hands over what it has. Nothing of the flow waits for it, and a release may leave it out.
"""

from __future__ import annotations

from enum import Enum

from organseg.contract import names
from organseg.contract.ensembles import ensemble_tensors
from organseg.contract.keeping import ImageFeatures
from organseg.contract.models import (
    EXPLAIN_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    Model,
    ModelKind,
    models_of,
)
from organseg.contract.presets import Preset
from organseg.contract.tensors import DataType, Tensor, static

DEFAULT_TOKENS = 160
"""How many tokens are generated at most, where a request does not say."""
MOST_TOKENS = 512
"""The most that a request may ask for."""


class Explanations(Enum):
    """Whether a release can explain its answers."""

    INCLUDE = "include"
    """The model is there, with a second copy of the language model."""
    LEAVE_OUT = "leave-out"
    """It is not: a server of the release has the flow alone."""


class Finish(str, Enum):
    """Why an explanation ended; its value is the word in the last piece, and empty before."""

    COMPLETE = "complete"
    """The model came to its end."""
    TOKEN_LIMIT = "token_limit"
    """The words were cut at the token limit; the segmentation line follows all the same."""


def explanation_model(preset: Preset) -> Model:
    """The model beside the flow, with this preset's dimensions."""
    asked, answered = ensemble_tensors(preset)
    given = (names.ANSWER_ORGANS, names.ANSWER_VERDICTS, names.ANSWER_BOXES)
    one = static("one", 1)
    return Model(
        EXPLAIN_NAME,
        ModelKind.PYTHON,
        (
            *asked,
            *(tensor for name in given for tensor in answered if tensor.name == name),
            Tensor(
                names.MAX_TOKENS,
                DataType.INT32,
                (one,),
                f"most tokens to generate, 1 to {MOST_TOKENS}; without it {DEFAULT_TOKENS}",
                optional=True,
            ),
        ),
        (
            Tensor(
                names.TEXT,
                DataType.BYTES,
                (one,),
                "the next piece of the text, UTF-8: letter line, explanation, segmentation line",
            ),
            Tensor(
                names.FINISH,
                DataType.BYTES,
                (one,),
                "empty; in the last piece " + " or ".join(finish.value for finish in Finish),
            ),
        ),
        "LLaVA-Med without its adapter writes the answer out, one response a piece (decoupled).",
        streams=True,
    )


def served_models(
    preset: Preset, image_features: ImageFeatures = ImageFeatures.REUSE
) -> tuple[Model, ...]:
    """Every model of a release but the ensembles: the flow's stages, then what is beside it."""
    left_out = () if image_features is ImageFeatures.REUSE else (FEATURES_NAME, SESSIONS_NAME)
    stages = (model for model in models_of(preset) if model.name not in left_out)
    return (*stages, explanation_model(preset))


def model_of(preset: Preset, name: str) -> Model:
    """One model of a release by name; raises `KeyError` where there is none."""
    for model in served_models(preset):
        if model.name == name:
            return model
    raise KeyError(f"a release has no model {name!r}")
