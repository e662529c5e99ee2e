"""What one change was found to be worth, and whether it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any

from benchmarks.record import RecordError


class Outcome(Enum):
    """What became of a change."""

    KEPT = "kept"
    """More answers per second, and a single user waits no longer."""
    NO_GAIN = "no gain"
    """Not more answers per second than the margin asks for."""
    SLOWER_ALONE = "slower alone"
    """More answers per second, but a single user waits longer than the margin allows."""
    FAILED = "failed"
    """It could not be served, or answers failed."""


@dataclass(frozen=True)
class Rule:
    """What a change must reach to be kept."""

    gain_percent: float = 3.0
    """How much more answers per second, the median over pairs."""
    alone_percent: float = 10.0
    """How much longer a single user may wait, by the median."""


@dataclass(frozen=True)
class Trial:
    """A change, measured by turns with what was best before it."""

    label: str
    """What was changed."""
    standing_per_second: tuple[float, ...] = ()
    """Answers per second of what was best before, one for each pair of windows."""
    challenger_per_second: tuple[float, ...] = ()
    """Those of the change, in the same order."""
    standing_alone_ms: tuple[float, ...] = ()
    """The median latency of a single user before; empty where the first figure settled it."""
    challenger_alone_ms: tuple[float, ...] = ()
    """That of the change."""
    failure: str = ""
    """Why it could not be measured; empty where it was."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else was seen, as plain values."""

    @property
    def gain(self) -> float | None:
        """Answers per second of the change over those of before, the median over pairs."""
        return _ratio(self.challenger_per_second, self.standing_per_second)

    @property
    def alone(self) -> float | None:
        """A single user's median latency over that of before, the median over pairs."""
        return _ratio(self.challenger_alone_ms, self.standing_alone_ms)

    def gains(self, rule: Rule) -> bool:
        """Whether it answers enough more."""
        return self.gain is not None and self.gain >= 1 + rule.gain_percent / 100

    def outcome(self, rule: Rule) -> Outcome:
        """What becomes of it."""
        if self.failure or self.gain is None:
            return Outcome.FAILED
        if not self.gains(rule):
            return Outcome.NO_GAIN
        if self.alone is None or self.alone > 1 + rule.alone_percent / 100:
            return Outcome.SLOWER_ALONE
        return Outcome.KEPT

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON, ratios included."""
        return {
            "label": self.label,
            "gain": self.gain,
            "alone": self.alone,
            "standing_per_second": list(self.standing_per_second),
            "challenger_per_second": list(self.challenger_per_second),
            "standing_alone_ms": list(self.standing_alone_ms),
            "challenger_alone_ms": list(self.challenger_alone_ms),
            "failure": self.failure,
            "more": dict(self.more),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trial:
        """The trial that `to_json` wrote; raises `RecordError` for anything else."""
        try:
            figures = {
                name: tuple(float(value) for value in document[name])
                for name in (
                    "standing_per_second",
                    "challenger_per_second",
                    "standing_alone_ms",
                    "challenger_alone_ms",
                )
            }
            return cls(
                label=str(document["label"]),
                failure=str(document["failure"]),
                more=dict(document["more"]),
                **figures,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                "wanted a trial as `python -m benchmarks tune` records it, got another document "
                f"({type(error).__name__}): name another --json, or delete the file"
            ) from None


def _ratio(challenger: Sequence[float], standing: Sequence[float]) -> float | None:
    pairs = [one / other for one, other in zip(challenger, standing, strict=True) if one and other]
    return median(pairs) if pairs and len(pairs) == len(standing) else None
