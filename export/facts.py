"""The facts of a release that its server states to clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from organseg.contract import LICENCE, Fact
from organseg.networks.checkpoint import CheckpointCard

__all__ = ["release_facts"]


def release_facts(
    card: CheckpointCard, *, created: str, sources: Sequence[Mapping[str, Any]]
) -> dict[Fact, str]:
    """When a release was made, whether it is trained, where its weights are from, on what terms.

    Args:
        card: what its checkpoint says of itself.
        created: when the release was made, ISO 8601.
        sources: the parts that were read from places of their own, as in the manifest; of those
            from the hub the licence is known. None for a whole checkpoint.
    """
    facts = {
        Fact.MADE: created,
        Fact.TRAINED: "true" if card.trained else "false",
        Fact.SOURCE: card.description,
    }
    if sources:
        facts[Fact.SOURCE] = ", ".join(f"{one['part']}: {one['name']}" for one in sources)
        # A part that came in another's files has that one's terms, and says none.
        terms = [
            f"{one['part']}: {one['licence'] or 'not known'}" for one in sources if "licence" in one
        ]
        facts[Fact.LICENCE] = "; ".join([LICENCE, *terms])
    return facts
