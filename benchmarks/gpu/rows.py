"""Rows of the record: what was measured, beside its floor, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.chips import Chip
from benchmarks.gpu.floors import Floor, Work, floor_of
from benchmarks.gpu.timing import Timing
from export.precision import Precision

Row = dict[str, Any]


def stage_row(
    stage: str,
    engine: str,
    batch: int,
    precision: Precision,
    timing: Timing,
    floor: Floor | None,
) -> Row:
    """One measured way to run a stage; its floor is None where the chip's rates are not known."""
    return {
        "stage": stage,
        "engine": engine,
        "batch": batch,
        "precision": precision.value,
        "calls": timing.calls,
        "milliseconds": asdict(timing.latencies),
        "floor": floor_values(floor, timing.latencies.p50),
        "peak_memory_bytes": timing.peak_memory_bytes,
        "used_memory_bytes": timing.used_memory_bytes,
    }


def work_row(stage: str, batch: int, precision: Precision, work: Work) -> Row:
    """What a stage has to do, as it was counted."""
    return {
        "stage": stage,
        "batch": batch,
        "precision": precision.value,
        "operations": work.operations,
        "weight_bytes": work.weight_bytes,
        "activation_bytes": work.activation_bytes,
    }


def floor_values(floor: Floor | None, median_ms: float) -> Row | None:
    """A floor and its share of a measured median."""
    if floor is None:
        return None
    return {
        "milliseconds": floor.milliseconds,
        "operations_ms": floor.operations_ms,
        "bytes_ms": floor.bytes_ms,
        "bound_by": floor.bound_by,
        "percent": floor.percent_of(median_ms),
    }


def request_floor(stages: Mapping[str, tuple[Work, Precision]], chip: Chip | None) -> Floor | None:
    """The floor of a request; its two branches share the chip, so all that they do adds up.

    Decoding, gate and masks on the host are not in it.
    """
    floors = [floor_of(work, chip, precision) for work, precision in stages.values()]
    known = [floor for floor in floors if floor is not None]
    if len(known) < len(floors):
        return None
    return Floor(
        sum(floor.operations_ms for floor in known), sum(floor.bytes_ms for floor in known)
    )
