"""What a server can be asked, and what it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Capabilities", "OrganCapability", "ReleaseFacts"]


@dataclass(frozen=True)
class OrganCapability:
    """One organ that may be asked for."""

    id: int
    """1 to 13, the FLARE22 label value; the value in label maps."""
    letter: str
    """The answer letter of the paper's multiple-choice prompt: A to M."""
    name: str
    """The organ's English name."""
    synonyms: tuple[str, ...]
    """Other names, for people to find it by."""
    colour_rgb: tuple[int, int, int]
    """The overlay colour, 0 to 255 a channel."""


@dataclass(frozen=True)
class ReleaseFacts:
    """What the server's release says of itself; each None where it says nothing."""

    made: str | None
    """When it was exported, ISO 8601 with its time zone."""
    trained: bool | None
    """Whether its weights were trained; answers of untrained ones mean nothing."""
    source: str | None
    """Where its weights came from, in a few words."""


@dataclass(frozen=True)
class Capabilities:
    """What a server can be asked, and what it is."""

    organs: tuple[OrganCapability, ...]
    """The 13 organs, by id."""
    contract_version: str
    """The version of the wire contract that client and server share."""
    client_version: str
    """The version of this library."""
    server_version: str
    """The version of Triton that answers."""
    preset: str
    """The size of the served models: `tiny`, `medsam`, `llava-med-7b`."""
    release: ReleaseFacts
    """The served release."""
    licence: str
    """The terms of code and weights, as the server states them."""
    intended_use: str
    """What the server may be used for, as it states it itself."""
    can_explain: bool
    """Whether `explain` is served."""
    keeps_images: bool
    """Whether an image that is opened is sent once; else it goes along with each question."""

    def to_dict(self) -> dict[str, Any]:
        """The same in plain values for JSON."""
        return asdict(self)
