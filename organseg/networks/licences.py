"""Licences of weights: shown before anything is downloaded, and agreed to."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from organseg.errors import SourceError

AGREE_FLAG = "--accept-licence"
"""The option that agrees on a command line."""


@dataclass(frozen=True)
class Licence:
    """What somebody who downloads weights agrees to."""

    name: str
    """In a few words, as a manifest keeps it."""
    terms: str
    """What it means here, and where it can be read."""


_KNOWN = {
    "microsoft/llava-med-v1.5-mistral-7b": Licence(
        name="Microsoft, for research only; any deployed use is out of scope",
        terms="Its authors intend it for research on visual-language processing and for "
        "reproducing their paper. Any deployed use, commercial or otherwise, is out of its scope, "
        "and so are clinical care and clinical decisions. The base model is "
        "Mistral-7B-Instruct-v0.2, under its own licence.",
    ),
    "wanglab/medsam-vit-base": Licence(
        name="Apache-2.0",
        terms="Use, change and pass it on under the terms of the Apache License 2.0.",
    ),
}


def licence_of(hub_id: str, said: str | None) -> Licence:
    """The licence of a model on the hub.

    Args:
        hub_id: `owner/name`.
        said: what the model's own page names as its licence, if anything.
    """
    known = _KNOWN.get(hub_id.lower())
    hub = f"The hub names its licence as {said!r}." if said else "The hub names no licence for it."
    if known:
        return Licence(known.name, f"{known.terms} {hub}" if said else known.terms)
    return Licence(said or "none named", f"{hub} Read its page before you agree.")


def require_agreement(hub_id: str, page: str, licence: Licence, *, accepted: bool) -> None:
    """Shows a licence, and goes on when somebody agrees to it.

    Args:
        hub_id: the model.
        page: the address where its licence can be read.
        licence: what is agreed to.
        accepted: whether it was agreed to on the command line; otherwise a person at a terminal
            is asked.

    Raises:
        SourceError: nobody agreed.
    """
    print(f"{hub_id}: {licence.name}\n  {licence.terms}\n  {page}", file=sys.stderr)
    if accepted:
        return
    if sys.stdin is not None and sys.stdin.isatty():
        print("Type yes to agree and download: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() == "yes":
            return
    raise SourceError(
        f"wanted agreement to the licence of {hub_id} ({licence.name}) before it is downloaded, "
        f"got none; nothing was downloaded: read {page}, then run the same command with "
        f"{AGREE_FLAG}"
    )
