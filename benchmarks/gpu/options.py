"""What is to be measured, as values: the command line's options, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from benchmarks.gpu.registry import ENGINES, ENGINES_OF_DEVICE
from benchmarks.gpu.timing import Rounds
from export.precision import Precision
from organseg.contract import Preset
from organseg.errors import EngineError


class Part(Enum):
    """A part of the benchmark."""

    STAGES = "stages"
    """The graph stages in every engine."""
    LANGUAGE = "language"
    """The language model's prefill and follow-up."""
    REQUESTS = "requests"
    """Whole requests in process."""
    SERVER = "server"
    """Whole requests through the embedded server."""


@dataclass(frozen=True)
class Plan:
    """One run of the benchmark."""

    preset: Preset
    """The sizes."""
    precision: Precision | None
    """Of a release; None takes the device's own half precision."""
    batches: tuple[int, ...]
    """Batch sizes of the stages."""
    rounds: Rounds
    """How often each stage is called."""
    parts: tuple[Part, ...]
    """What is measured."""
    engines: tuple[str, ...]
    """Which engines run the graph stages."""
    release: Path | None
    """What the embedded server serves; without it that part is left out."""


def engines_named(given: Sequence[str] | None, device: str) -> tuple[str, ...]:
    """The engines of these names, or all that a device is measured with.

    Raises `EngineError` where a name is none of an engine.
    """
    for name in given or ():
        if name not in ENGINES:
            raise EngineError(
                f"wanted engines among {', '.join(ENGINES)}, got {name!r}: change --engines"
            )
    return tuple(given) if given else ENGINES_OF_DEVICE[device]
