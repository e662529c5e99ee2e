"""Reads the records of load tests, whichever of the commands wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from benchmarks.load.window import Window
from benchmarks.record import RecordError, read_record

Document = Mapping[str, Any]


class Kind(Enum):
    """What was measured: the `benchmark` of a record, and the command that makes it."""

    STAGES = "stages"
    FOLLOW_UP = "follow-up"
    LOAD = "load"
    SECOND_OPINION = "second-opinion"
    PEERS = "peers"
    MEMORY_SOAK = "memory-soak"


@dataclass(frozen=True)
class Record:
    """One file."""

    kind: Kind
    """What it measures."""
    preset: str
    """Of the release that was measured."""
    run: Document
    """When, with which code, on which machine: `describe_run`."""
    document: Document
    """All of it."""


@dataclass(frozen=True)
class PresetRecords:
    """All records of one preset; of each kind the latest, but of load tests every one."""

    preset: str
    """Whose they are."""
    records: tuple[Record, ...]
    """Oldest first."""

    def latest(self, kind: Kind) -> Record | None:
        """The last one made, or None."""
        return next((record for record in reversed(self.records) if record.kind is kind), None)

    def load_windows(self) -> tuple[Window, ...]:
        """The windows of all load records; raises `RecordError` for one that is laid out wrong."""
        return tuple(
            Window.from_json(window)
            for record in self.records
            if record.kind is Kind.LOAD
            for window in record.document["windows"]
        )

    def peer_windows(self) -> tuple[Window, ...]:
        """The windows of the latest comparison with peers, none without one."""
        record = self.latest(Kind.PEERS)
        return tuple(map(Window.from_json, record.document["windows"])) if record else ()


def read_records(paths: Sequence[Path]) -> tuple[PresetRecords, ...]:
    """The records of these files, by preset in the order of the files.

    Raises:
        RecordError: a file cannot be read or is no record of a load test.
    """
    found: dict[str, list[Record]] = {}
    for path in paths:
        record = _read(path)
        found.setdefault(record.preset, []).append(record)
    return tuple(
        PresetRecords(preset, tuple(sorted(records, key=lambda record: record.run["made"])))
        for preset, records in found.items()
    )


def _read(path: Path) -> Record:
    document = read_record(path)
    try:
        run = document.get("run", document)
        record = Record(_kind(document), _preset(document), run, document)
        for wanted in ("made", "commit", "machine", "packages"):
            run[wanted]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        kinds = ", ".join(kind.value for kind in Kind)
        raise RecordError(
            f"wanted the record of a load test ({kinds}), {path.name!r} is another "
            f"({type(error).__name__}): name the files that `python -m benchmarks …` wrote"
        ) from None
    return record


def _kind(document: Document) -> Kind:
    if "benchmark" in document:
        return Kind(document["benchmark"])
    # Two of the commands did not name themselves at first.
    if "turns" in document and "paths" in document:
        return Kind.PEERS
    if "servers" in document and "rows" in document:
        return Kind.FOLLOW_UP
    raise KeyError("benchmark")


def _preset(document: Document) -> str:
    servers = [document.get("server"), *document.get("servers", {}).values()]
    return str(document.get("preset") or next(filter(None, servers))["preset"])
