"""What a report has: every part with the records that it is made of and the command for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load.window import Loop
from benchmarks.report.blocks import Block, Section, Table, Text
from benchmarks.report.cost_sections import (
    cache_blocks,
    error_blocks,
    machine_blocks,
    not_measured_blocks,
)
from benchmarks.report.follow_up_section import follow_up_blocks
from benchmarks.report.goals_section import goals_blocks
from benchmarks.report.hop_sections import hop_blocks
from benchmarks.report.load_sections import load_blocks
from benchmarks.report.peer_sections import peer_blocks
from benchmarks.report.records import Document, Kind, PresetRecords
from benchmarks.report.stage_sections import batch_blocks, stage_blocks
from benchmarks.report.sweeps import Sweep, sweeps_of
from benchmarks.report.trust_sections import memory_blocks, second_opinion_blocks
from benchmarks.report.wording import commit

_LOAD = "python -m benchmarks load --release build/releases/{preset} --json load.json"
_STAGES = "python -m benchmarks stages --release build/releases/{preset} --json stages.json"
_FOLLOW_UP = (
    "python -m benchmarks follow-up --release build/releases/{preset} --json follow-up.json"
)
_SECOND_OPINION = (
    "python -m benchmarks second-opinion --release build/releases/{preset} "
    "--json second-opinion.json"
)
_SOAK = "python -m benchmarks memory-soak --release build/releases/{preset} --json memory-soak.json"
_PEERS = "python -m benchmarks peers --release build/releases/{preset} --json peers.json"


@dataclass(frozen=True)
class _Part:
    """One section of every report."""

    title: str
    """Its head."""
    blocks: Callable[[PresetRecords], Iterable[Block]]
    """What is in it; nothing where its records are missing."""
    command: str
    """What measures it."""


def _swept(
    blocks: Callable[[Sequence[Sweep]], Iterable[Block]],
) -> Callable[[PresetRecords], Iterable[Block]]:
    return lambda records: blocks(sweeps_of(records.load_windows()))


def _errors(records: PresetRecords) -> Iterator[Block]:
    yield from error_blocks(sweeps_of(records.load_windows()))
    yield from not_measured_blocks(
        [record.document for record in records.records if record.kind is Kind.LOAD]
    )


_PARTS = (
    _Part("Goals", goals_blocks, _PEERS),
    _Part("Rising users", _swept(lambda sweeps: load_blocks(sweeps, Loop.CLOSED)), _LOAD),
    _Part("Rising rate", _swept(lambda sweeps: load_blocks(sweeps, Loop.OPEN)), _LOAD),
    _Part("Peers", peer_blocks, _PEERS),
    _Part("Follow-up questions", follow_up_blocks, _FOLLOW_UP),
    _Part("One request, stage by stage", hop_blocks, _STAGES),
    _Part("Latency by stage", _swept(stage_blocks), _LOAD),
    _Part("Mean batch", _swept(batch_blocks), _LOAD),
    _Part("What was kept", _swept(cache_blocks), _LOAD),
    _Part("Processor and memory", _swept(machine_blocks), _LOAD),
    _Part("Second opinion", second_opinion_blocks, _SECOND_OPINION),
    _Part("Memory over a long time", memory_blocks, _SOAK),
    _Part("Errors", _errors, _LOAD),
)


def report_sections(presets: Sequence[PresetRecords]) -> Iterator[Section]:
    """Every part for every preset; one that nothing was measured for names its command."""
    for records in presets:
        before = f"{records.preset}: " if len(presets) > 1 else ""
        for part in _PARTS:
            command = part.command.format(preset=records.preset)
            missing = Text(f"Not measured. This makes the record: `{command}`")
            yield Section(before + part.title, tuple(part.blocks(records)) or (missing,))
    yield Section("Records", tuple(_record_blocks(presets)))


def lead(presets: Sequence[PresetRecords]) -> str:
    """One line: what was measured on what, by the newest record."""
    newest = max(
        (record for records in presets for record in records.records),
        key=lambda record: str(record.run["made"]),
    )
    machine = newest.run["machine"]
    names = " and ".join(f"`{records.preset}`" for records in presets)
    return (
        f"Preset {names} on {machine['cpu']}, {machine['cores']} cores, shared by the server and "
        f"those who ask it; commit {commit(newest.run['commit'])}; {newest.run['made']}."
    )


def _record_blocks(presets: Sequence[PresetRecords]) -> Iterator[Block]:
    every = [record for records in presets for record in records.records]
    makings = {(commit(record.run["commit"]), record.run["machine"]["cpu"]) for record in every}
    if len(makings) > 1:
        yield Text(
            "**Not of one making:** the records come from several commits or machines; compare "
            "what stands in different sections with care."
        )
    yield Table(
        "Where the numbers come from",
        ("record", "preset", "made", "commit", "machine", "cores", "load before", "release"),
        tuple(
            (
                f"`{record.kind.value}`",
                record.preset,
                str(record.run["made"]),
                commit(record.run["commit"]),
                str(record.run["machine"]["cpu"]),
                str(record.run["machine"]["cores"]),
                str(record.run["machine"]["load_average_1_min"]),
                _release(record.document),
            )
            for record in every
        ),
        text_columns=8,
    )
    packages = dict(item for record in every for item in record.run["packages"].items())
    yield Table("Versions", ("package", "version"), tuple(sorted(packages.items())), 2)


def _release(document: Document) -> str:
    for known in (document, document.get("server"), *document.get("servers", {}).values()):
        if known and known.get("release"):
            return str(known["release"]["created"])
    return "on another server"
