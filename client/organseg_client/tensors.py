"""The tensors that a client sends and receives, by name, taken from the contract.

They are the same for every preset, since a client need not know which one a server runs. A
tensor that the contract renames or drops makes this module fail at import.
"""

from __future__ import annotations

from organseg.contract import TINY, Tensor, ensemble_tensors, explanation_model

__all__ = [
    "BOXES",
    "EXPLAINED",
    "FINISH",
    "IMAGE",
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

EXPLAINED = explanation_model(TINY).outputs
"""All tensors that a piece of an explanation carries."""

_BY_NAME: dict[str, Tensor] = {tensor.name: tensor for tensor in (*SENT, *RECEIVED)}
_OF_EXPLANATIONS: dict[str, Tensor] = {
    tensor.name: tensor for tensor in (*explanation_model(TINY).inputs, *EXPLAINED)
}

IMAGE = _BY_NAME["IMAGE"]
QUERY = _BY_NAME["QUERY"]
WINDOW = _BY_NAME["WINDOW"]

MASKS = _BY_NAME["MASKS"]
ORGAN_IDS = _BY_NAME["ORGANS"]
VERDICTS = _BY_NAME["VERDICTS"]
BOXES = _BY_NAME["BOXES"]
QUALITY = _BY_NAME["QUALITY"]
SIMILARITY = _BY_NAME["SIMILARITY"]
PRESENCE = _BY_NAME["PRESENCE"]

MAX_TOKENS = _OF_EXPLANATIONS["MAX_TOKENS"]
TEXT = _OF_EXPLANATIONS["TEXT"]
FINISH = _OF_EXPLANATIONS["FINISH"]
