"""The floor under a measured time: what no program can beat on a chip.

A stage has to do its operations and to move its bytes at least once. It can do both at the same
time, so its floor is the longer of operations over the chip's rate and bytes over its bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.chips import Chip
from export.precision import Precision


@dataclass(frozen=True)
class Work:
    """What one call of a stage has to do."""

    operations: int
    """Multiplications and additions of products and convolutions, each counted as one."""
    weight_bytes: int
    """Weights that are read."""
    activation_bytes: int
    """Inputs that are read and outputs that are written, at the stage's edge."""

    @property
    def bytes(self) -> int:
        """All that has to pass through the memory."""
        return self.weight_bytes + self.activation_bytes

    def plus(self, other: Work) -> Work:
        """Both, one after the other."""
        return Work(
            self.operations + other.operations,
            self.weight_bytes + other.weight_bytes,
            self.activation_bytes + other.activation_bytes,
        )


@dataclass(frozen=True)
class Floor:
    """The least time that a chip needs for some work."""

    operations_ms: float
    """By its rate."""
    bytes_ms: float
    """By its bandwidth."""

    @property
    def milliseconds(self) -> float:
        """The longer of the two."""
        return max(self.operations_ms, self.bytes_ms)

    @property
    def bound_by(self) -> str:
        """Which of the two it is, for people."""
        return "operations" if self.operations_ms >= self.bytes_ms else "bytes"

    def percent_of(self, measured_ms: float) -> float:
        """The floor's share of a measured time, percent: 100 where the chip was used in full."""
        return 100 * self.milliseconds / measured_ms


def floor_of(work: Work, chip: Chip | None, precision: Precision) -> Floor | None:
    """The floor; None where the chip is not known, or has no rate for the precision."""
    rate = chip.operations_per_s(precision) if chip else None
    if chip is None or rate is None:
        return None
    return Floor(1e3 * work.operations / rate, 1e3 * work.bytes / chip.bytes_per_s)
