"""The tensors that a client sends and receives, by name, taken from the contract.

They are the same for every preset, since a client need not know which one a server runs.
"""

from __future__ import annotations

from organseg.contract import (
    ENCODE_NAME,
    TINY,
    Tensor,
    ensemble_tensors,
    ensembles_of,
    explanation_model,
    names,
)

__all__ = [
    "BOXES",
    "EXPLAINED",
    "FINISH",
    "HANDLE",
    "IMAGE",
    "KEPT",
    "MASKS",
    "MAX_TOKENS",
    "ORGAN_IDS",
    "PRESENCE",
    "QUALITY",
    "QUERY",
    "RECEIVED",
    "SENT",
    "SIMILARITY",
    "TEXT",
    "VERDICTS",
    "WINDOW",
]

SENT, RECEIVED = ensemble_tensors(TINY)
"""All tensors that a request may carry, and all that a response carries."""

KEPT = next(one.outputs for one in ensembles_of(TINY) if one.name == ENCODE_NAME)
"""All tensors that a response to an image alone carries."""

EXPLAINED = explanation_model(TINY).outputs
"""All tensors that a piece of an explanation carries."""

_BY_NAME: dict[str, Tensor] = {tensor.name: tensor for tensor in (*SENT, *RECEIVED)}
_OF_EXPLANATIONS: dict[str, Tensor] = {
    tensor.name: tensor for tensor in (*explanation_model(TINY).inputs, *EXPLAINED)
}

IMAGE = _BY_NAME[names.IMAGE]
QUERY = _BY_NAME[names.QUERY]
WINDOW = _BY_NAME[names.WINDOW]

MASKS = _BY_NAME[names.ANSWER_MASKS]
ORGAN_IDS = _BY_NAME[names.ANSWER_ORGANS]
VERDICTS = _BY_NAME[names.ANSWER_VERDICTS]
BOXES = _BY_NAME[names.ANSWER_BOXES]
QUALITY = _BY_NAME[names.ANSWER_QUALITY]
SIMILARITY = _BY_NAME[names.ANSWER_SIMILARITY]
PRESENCE = _BY_NAME[names.ANSWER_PRESENCE]

HANDLE = next(tensor for tensor in KEPT if tensor.name == names.HANDLE)

MAX_TOKENS = _OF_EXPLANATIONS[names.MAX_TOKENS]
TEXT = _OF_EXPLANATIONS[names.TEXT]
FINISH = _OF_EXPLANATIONS[names.FINISH]
