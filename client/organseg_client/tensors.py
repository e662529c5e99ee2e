"""The tensors that a client sends and receives, by name, taken from the contract.

They are the same for every preset, since a client need not know which one a server runs. A
tensor that the contract renames or drops makes this module fail at import.
"""

from __future__ import annotations

from organseg.contract import TINY, Tensor, ensemble_tensors

__all__ = [
    "BOXES",
    "IMAGE",
    "MASKS",
    "ORGAN_IDS",
    "PRESENCE",
    "QUALITY",
    "QUERY",
    "RECEIVED",
    "SENT",
    "SIMILARITY",
    "VERDICTS",
    "WINDOW",
]

SENT, RECEIVED = ensemble_tensors(TINY)
"""All tensors that a request may carry, and all that a response carries."""

_BY_NAME: dict[str, Tensor] = {tensor.name: tensor for tensor in (*SENT, *RECEIVED)}

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
