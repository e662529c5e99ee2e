"""The ensembles: what a client asks, each a walk through some of the stages.

A tensor has one name from the stage that writes it to those that read it, so the wiring follows
from the names: a stage reads what the client sent or an earlier stage wrote, and of what it writes
that is wired which a later stage or the client reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from organseg.contract import names
from organseg.contract.keeping import ImageFeatures
from organseg.contract.models import FEATURES_NAME, SESSIONS_NAME, Model, models_of
from organseg.contract.presets import Preset
from organseg.contract.tensors import Tensor

ENSEMBLE_NAME = "organ_seg"
"""One image and one question."""

ENCODE_NAME = "organ_seg_encode"
"""An image alone: opens a session."""

ASK_NAME = "organ_seg_ask"
"""A question alone, by the handle of a session."""

ENSEMBLE_ALIASES = {
    names.SIMILARITY: names.ANSWER_SIMILARITY,
    names.ORGAN_PRESENCE: names.ANSWER_PRESENCE,
}
"""Tensors of inner stages that a client receives too, under their upper-case names."""

_MATCH = ("llava_med", "extractors", "gate", "mask_decoder", "postprocess")
"""From an image's features and a question to an answer."""


@dataclass(frozen=True)
class Step:
    """One stage at its place in an ensemble."""

    model: Model
    """The stage."""
    inputs: tuple[Tensor, ...]
    """What it is given here; an optional input that nobody writes is left out."""
    outputs: tuple[Tensor, ...]
    """What is taken of it here; what nobody reads is left out."""


@dataclass(frozen=True)
class Ensemble:
    """One thing that a client may ask of a release."""

    name: str
    """The name that it is asked by."""
    inputs: tuple[Tensor, ...]
    """What a client sends."""
    outputs: tuple[Tensor, ...]
    """What a client receives."""
    stages: tuple[Model, ...]
    """The stages, in the order data walks them."""
    doc: str
    """What it is for, in one sentence."""

    def steps(self) -> tuple[Step, ...]:
        """The wiring; raises `ValueError` where a stage would lack an input that it demands."""
        written = {tensor.name for tensor in self.inputs}
        received = {tensor.name for tensor in self.outputs}
        steps = []
        for place, model in enumerate(self.stages):
            given = tuple(tensor for tensor in model.inputs if tensor.name in written)
            lacking = [
                tensor.name
                for tensor in model.inputs
                if not tensor.optional and tensor.name not in written
            ]
            if lacking:
                raise ValueError(f"{self.name}: nobody writes {lacking} for {model.name}")
            read = {tensor.name for later in self.stages[place + 1 :] for tensor in later.inputs}
            taken = tuple(
                tensor
                for tensor in model.outputs
                if tensor.name in read or ENSEMBLE_ALIASES.get(tensor.name, tensor.name) in received
            )
            steps.append(Step(model, given, taken))
            written |= {tensor.name for tensor in taken}
        return tuple(steps)


def ensemble_tensors(preset: Preset) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The inputs and outputs of the ensemble `organ_seg`, as a client sees them."""
    stages = {model.name: model for model in models_of(preset)}
    aliased = [
        Tensor(alias, inner.dtype, inner.axes, inner.doc)
        for name, alias in ENSEMBLE_ALIASES.items()
        for stage in stages.values()
        for inner in stage.outputs
        if inner.name == name
    ]
    sent = tuple(
        replace(tensor, optional=tensor.name == names.WINDOW)
        for tensor in stages["preprocess"].inputs
    )
    return sent, (*stages["postprocess"].outputs, *aliased)


def ensembles_of(
    preset: Preset, image_features: ImageFeatures = ImageFeatures.REUSE
) -> tuple[Ensemble, ...]:
    """The ensembles of a release; sessions are there where features are kept."""
    models = {model.name: model for model in models_of(preset)}
    sent, received = ensemble_tensors(preset)
    reuses = image_features is ImageFeatures.REUSE
    encoder = FEATURES_NAME if reuses else "image_encoder"

    def stages(*wanted: str) -> tuple[Model, ...]:
        return tuple(models[name] for name in wanted)

    whole = Ensemble(
        ENSEMBLE_NAME,
        sent,
        received,
        stages("preprocess", encoder, *_MATCH),
        "One image and one question.",
    )
    if not reuses:
        return (whole,)
    sessions = models[SESSIONS_NAME]
    handle, lifetime = sessions.outputs[:2]
    return (
        whole,
        Ensemble(
            ENCODE_NAME,
            tuple(tensor for tensor in sent if tensor.name != names.QUERY),
            (handle, lifetime),
            stages("preprocess", encoder, "llava_med", SESSIONS_NAME),
            "An image alone: computes what every question about it needs, and opens a session.",
        ),
        Ensemble(
            ASK_NAME,
            (handle, *(tensor for tensor in sent if tensor.name == names.QUERY)),
            received,
            stages(SESSIONS_NAME, encoder, *_MATCH),
            "A question about the image of an open session.",
        ),
    )
