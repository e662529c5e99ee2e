"""The contract version: one short hash over the names, types and axes of all tensors.

It leaves sizes out, so every preset of one code speaks the same version; a renamed tensor, a
new axis, another verdict or another organ order changes it. It travels in each Triton config,
in each ONNX graph's metadata and in the manifest; clients compare it when they connect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from organseg.contract.ensembles import ensembles_of
from organseg.contract.explanation import explanation_model
from organseg.contract.models import models_of
from organseg.contract.presets import TINY
from organseg.contract.tensors import Tensor
from organseg.contract.verdicts import PROMPT_COUNTS, Verdict
from organseg.organs import ANSWERS


def _signature(tensors: Iterable[Tensor]) -> list[list[object]]:
    return [[t.name, t.dtype.value, [axis.name for axis in t.axes], t.optional] for t in tensors]


def contract_document() -> dict[str, object]:
    """All that the version covers, as plain values in a fixed order."""
    return {
        "ensembles": [
            [each.name, _signature(each.inputs), _signature(each.outputs)]
            for each in ensembles_of(TINY)
        ],
        "models": [
            [model.name, _signature(model.inputs), _signature(model.outputs)]
            for model in (*models_of(TINY), explanation_model(TINY))
        ],
        "organs": [[organ.id, organ.name] for organ in ANSWERS],
        "verdicts": [[verdict.value, verdict.code] for verdict in Verdict],
        "prompt_counts": list(PROMPT_COUNTS),
    }


def _hash(document: dict[str, object]) -> str:
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()[:12]


CONTRACT_VERSION: str = _hash(contract_document())
"""Twelve hexadecimal digits."""

CONTRACT_PARAMETER = "contract_version"
"""The parameter's name in configs, requests and graph metadata."""
