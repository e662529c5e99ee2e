"""Values as the report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.load.window import Loop, Mix

MISSING = "–"
"""What stands where a value was not measured."""

_MIX_WORDS = {
    Mix.DISTINCT: "distinct images",
    Mix.REPEATED: "repeated images",
    Mix.SESSIONS: "sessions",
}
LOAD_WORDS = {Loop.CLOSED: "users", Loop.OPEN: "requests due per second"}


_PEER_WORDS = {
    "organ_seg": "Organ-Seg",
    "organ_seg_session": "Organ-Seg, sessions",
    "fastapi_torch": "FastAPI, torch eager",
    "litserve_torch": "LitServe, torch",
    "fastapi_graphs": "FastAPI, our graphs",
    "in_process": "our graphs in process",
}


def peer_of(target: str) -> str:
    """A target in words; its own name where it is none of the known ones."""
    return _PEER_WORDS.get(target, target)


def named_peers(text: str) -> str:
    """A text with the peers' names in words."""
    for name, words in _PEER_WORDS.items():
        if name not in ("organ_seg", "organ_seg_session"):
            text = text.replace(name, words)
    return text


def number(value: float | None, digits: int = 2) -> str:
    """With so many digits behind the point, thousands apart."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def whole(value: float | None) -> str:
    """A count; a median between two counts keeps its half."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def milliseconds(value: float | None) -> str:
    """One digit behind the point, two below ten."""
    return MISSING if value is None else number(value, 2 if abs(value) < 10 else 1)


def mebibytes(size: float | None) -> str:
    """Of bytes."""
    return MISSING if size is None else number(size / 2**20, 1)


def share(value: float | None) -> str:
    """As a percentage."""
    return MISSING if value is None else f"{value:.1%}"


def ratio(value: float | None) -> str:
    """As a multiple."""
    return MISSING if value is None else f"{value:.2f} ×"


def mix_of(mix: Mix) -> str:
    """The mix in words."""
    return _MIX_WORDS[mix]


def load_of(loop: Loop, value: float) -> str:
    """`8 users`, or `4 requests/s due`."""
    if loop is Loop.OPEN:
        return f"{load(value)} requests/s due"
    return f"{load(value)} user{'' if value == 1 else 's'}"


def load(value: float) -> str:
    """Users or a rate, without a point that says nothing."""
    return f"{round(value, 2):g}"


def counted(count: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def commit(described: Mapping[str, Any] | None) -> str:
    """The first letters of a commit, and whether files differed from it."""
    if described is None:
        return "unknown"
    return f"{described['id'][:12]}{' with changes' if described['modified'] else ''}"
