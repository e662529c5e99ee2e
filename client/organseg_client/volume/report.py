"""The verdicts of a volume, slice by slice, as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from organseg_client.volume.result import VolumeResult

__all__ = ["COLUMNS", "FAILED", "rows_of", "write_csv"]

COLUMNS = (
    "slice",
    "slice_verdict",
    "organ_id",
    "organ",
    "verdict",
    "area_pixels",
    "volume_ml",
    "x1",
    "y1",
    "x2",
    "y2",
    "quality",
    "seconds",
    "server",
    "request_id",
    "error",
)
"""What a line says: slices count from 0 at the feet; boxes are in pixels of the display slice."""

FAILED = "failed"
"""The verdict of a slice that got no answer; its error is in the last column."""


def rows_of(result: VolumeResult) -> Iterator[dict[str, Any]]:
    """A line for each organ of each slice, feet to head; failed slices in their place."""
    failures = {failure.index: failure for failure in result.failures}
    answers = {answer.index: answer for answer in result.slices}
    for index in sorted({*failures, *answers}):
        if index in failures:
            error = failures[index].error
            yield {
                "slice": index,
                "slice_verdict": FAILED,
                "error": f"{type(error).__name__}: {error}",
            }
            continue
        answer = answers[index]
        for organ in answer.organs:
            yield {
                "slice": index,
                "slice_verdict": answer.verdict.value,
                "organ_id": organ.id,
                "organ": organ.name,
                "verdict": organ.verdict.value,
                "area_pixels": organ.area_pixels,
                "volume_ml": round(organ.area_pixels * result.geometry.voxel_ml, 4),
                **dict(
                    zip(
                        ("x1", "y1", "x2", "y2"),
                        (round(edge, 2) for edge in organ.box_xyxy),
                        strict=True,
                    )
                ),
                "quality": round(organ.quality, 4),
                "seconds": round(answer.seconds, 4),
                "server": answer.server,
                "request_id": answer.request_id,
            }


def write_csv(path: Path, result: VolumeResult) -> None:
    """Writes `rows_of` under a header of `COLUMNS`, UTF-8."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows_of(result))
