"""What a release keeps of an image between questions, how much of it, and for how long.

Written into the configs of the stages that keep something, and read back by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from organseg.contract.language_model import LanguageModelWeights
from organseg.contract.models import FEATURES_NAME
from organseg.contract.presets import LLAVA_MED_7B, Preset
from organseg.errors import ContractError

KEPT_BYTES_PARAMETER = "kept_bytes"
"""The parameter of a stage's config that bounds what it keeps, bytes; 0 or none keeps nothing."""
LIFETIME_PARAMETER = "session_lifetime_s"
"""The parameter that says how long a session is known after its last question, seconds."""
HANDLES_PARAMETER = "session_handles"
"""The parameter that bounds the number of sessions open at once."""


class ImageFeatures(Enum):
    """Where an ensemble has what was computed of an image alone."""

    REUSE = "reuse"
    """Kept by the image's key, in front of the encoder and in the language model's stage."""
    DIRECT = "direct"
    """Computed for every request; there are no sessions."""


@dataclass(frozen=True)
class SessionLimits:
    """How long and how many sessions are known."""

    lifetime_s: float
    """How long after its last question, seconds."""
    handles: int
    """How many at once; the one that was asked longest ago is forgotten first."""

    @property
    def parameters(self) -> dict[str, str]:
        """What the stage's config says of them; `session_limits_in` reads it back."""
        return {LIFETIME_PARAMETER: f"{self.lifetime_s:g}", HANDLES_PARAMETER: str(self.handles)}


SESSION_LIMITS = SessionLimits(lifetime_s=1800, handles=4096)
"""A reading's length; an entry is some hundred bytes."""

_MIB = 1 << 20


def kept_bytes_of(preset: Preset, name: str, weights: LanguageModelWeights) -> int:
    """The most that a stage keeps, bytes; 0 for one that keeps nothing.

    An embedding takes 256 KiB (`tiny`) or 2 MiB (MedSAM). What `llava_med` keeps of an image takes
    2 MiB with the tiny language model and some 95 MiB with LLaVA-Med 7B in half precision: 4 GiB
    are forty images. Somebody who quantises it is short of memory, and gets room for five.
    """
    large = preset.vision_language == LLAVA_MED_7B.vision_language
    short = large and weights.is_quantised
    if name == FEATURES_NAME:
        return (128 if short else 256) * _MIB
    if name != "llava_med":
        return 0
    if short:
        return 512 * _MIB
    return (4096 if large else 256) * _MIB


def kept_bytes_in(parameters: Mapping[str, str]) -> int:
    """What a stage's config says of its bound; raises `ContractError` for what is no number."""
    return int(_number(parameters, KEPT_BYTES_PARAMETER, 0))


def session_limits_in(parameters: Mapping[str, str]) -> SessionLimits:
    """What a stage's config says of its sessions; raises `ContractError` for what is no number."""
    return SessionLimits(
        _number(parameters, LIFETIME_PARAMETER, SESSION_LIMITS.lifetime_s),
        int(_number(parameters, HANDLES_PARAMETER, SESSION_LIMITS.handles)),
    )


def bound_in(text: str) -> float | None:
    """The finite number of 0 or more that a text says; None where it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _number(parameters: Mapping[str, str], name: str, otherwise: float) -> float:
    said = parameters.get(name, str(otherwise))
    number = bound_in(said)
    if number is None:
        raise ContractError(
            f"wanted {name} as a number of 0 or more, got a config with {said[:40]!r}: export the "
            "release again"
        )
    return number
