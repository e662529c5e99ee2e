"""Renders `docs/wire.md`: how a program in any language asks a server.

The words are in `wire_template.md`; what the contract knows takes the place of its `{{marks}}`.
"""

from __future__ import annotations

import re
from pathlib import Path

from organseg.contract.deployment import QUEUE_TIMEOUT_MICROSECONDS
from organseg.contract.documentation import tensor_table
from organseg.contract.ensembles import (
    ASK_NAME,
    ENCODE_NAME,
    ENSEMBLE_NAME,
    ensemble_tensors,
    ensembles_of,
)
from organseg.contract.explanation import explanation_model
from organseg.contract.limits import MAX_IMAGE_BYTES, MAX_QUERY_BYTES, MAX_SIDE, MIN_SIDE
from organseg.contract.presets import TINY
from organseg.contract.verdicts import Verdict
from organseg.contract.version import CONTRACT_PARAMETER, CONTRACT_VERSION
from organseg.contract.wire_statuses import WIRE_STATUSES
from organseg.organs import ANSWERS, NONE, ORGANS

_TEMPLATE = Path(__file__).with_name("wire_template.md")
_NOTE = "<!-- Rendered by `make contract`; edit organseg/contract/wire_template.md instead. -->\n"
_MARK = re.compile(r"\{\{(\w+)\}\}")

_MEANINGS = {
    Verdict.SEGMENTED: "the image shows the organ: its mask and box follow",
    Verdict.ABSENT_IN_IMAGE: "the organ is one of the 13, this image does not show it: blank mask",
    Verdict.OUT_OF_SCOPE: "the question asks for none of the 13 organs: one entry, blank mask",
}


def render_wire() -> str:
    """The whole page as Markdown, ending in a newline."""
    facts = _facts()
    template = _TEMPLATE.read_text(encoding="utf-8")
    marks = set(_MARK.findall(template))
    assert marks == set(facts), f"marks and facts differ: {marks ^ set(facts)}"
    return _NOTE + _MARK.sub(lambda mark: facts[mark[1]], template)


def _facts() -> dict[str, str]:
    sent, received = ensemble_tensors(TINY)
    explain = explanation_model(TINY)
    ensembles = {ensemble.name: ensemble for ensemble in ensembles_of(TINY)}
    encode, ask = ensembles[ENCODE_NAME], ensembles[ASK_NAME]
    return {
        "ensemble": ENSEMBLE_NAME,
        "contract_parameter": CONTRACT_PARAMETER,
        "contract_version": CONTRACT_VERSION,
        "sent": tensor_table("sent", sent),
        "received": tensor_table("received", received),
        "encode": encode.name,
        "encode_sent": tensor_table("sent", encode.inputs),
        "encode_received": tensor_table("received", encode.outputs),
        "ask": ask.name,
        "ask_sent": tensor_table("sent", ask.inputs),
        "explain": explain.name,
        "explain_sent": tensor_table("sent", explain.inputs),
        "explain_received": tensor_table("received", explain.outputs),
        "answers_min": "1",
        "answers_max": str(len(ORGANS)),
        "none_id": f"{NONE.id} ({NONE.name})",
        "verdicts": "\n".join(
            f"| `{verdict.value}` | {_MEANINGS[verdict]} |" for verdict in Verdict
        ),
        "segmented": Verdict.SEGMENTED.value,
        "absent": Verdict.ABSENT_IN_IMAGE.value,
        "organs": "\n".join(f"| {one.id} | {one.letter} | {one.name} |" for one in ANSWERS),
        "limits": "\n".join(
            (
                f"| side of an image | {MIN_SIDE} to {MAX_SIDE} pixels |",
                f"| encoded image | {MAX_IMAGE_BYTES // 2**20} MiB |",
                f"| question | {MAX_QUERY_BYTES} bytes of UTF-8 |",
            )
        ),
        "queue_timeout_s": f"{QUEUE_TIMEOUT_MICROSECONDS / 1e6:g}",
        "statuses": "\n".join(
            f"| {row.grpc} | {row.http} | {row.says} | {row.meaning} | {row.again.value} |"
            for row in WIRE_STATUSES
        ),
    }
