"""`python -m benchmarks volume-memory`: the client's memory against the size of the scan."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from benchmarks.volume_memory import measure_memory, memory_record, memory_table
from benchmarks.volume_scans import SIDE, Storage

_DESCRIPTION = """\
Segment made-up scans of growing length, stored in every way that is read differently, each in a
process of its own, and print the peak of its memory. No server is needed: the answers are made up
on the spot, so that the client's own memory is all there is.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `volume-memory`."""
    parser = commands.add_parser(
        "volume-memory",
        help="the client's memory against the size of a scan",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--slices",
        type=count,
        nargs="+",
        default=[64, 256, 1024],
        metavar="N",
        help=f"lengths of the scans, slices of {SIDE} x {SIDE} (default: 64 256 1024)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports. Raises `OrganSegError`."""
    about = describe_run()
    uses = []
    for storage in Storage:
        for slices in options.slices:
            print(f"{storage.value}: {slices} slices …", file=sys.stderr, flush=True)
            uses.append(measure_memory(storage, slices))
    text = "\n".join(
        [
            "# The client's memory, volume by volume",
            "",
            f"`segment_volume`, four slices at once, and its label map written; slices of "
            f"{SIDE} x {SIDE}, each scan in a process of its own, answers made up on the spot. "
            "*Own memory*: anonymous pages over those before the scan was opened; *resident*: the "
            "whole process, the interpreter and pages of files included.",
            "",
            *memory_table(uses),
        ]
    )
    print(text)
    if options.json:
        record = {"benchmark": "volume-memory", **about, "runs": memory_record(uses)}
        write_record(options.json, record)
        options.json.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    return 0
