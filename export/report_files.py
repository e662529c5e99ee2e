"""What the reports of this package share: their options, and the two files that they write."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from organseg.contract import PRESETS
from organseg.errors import OrganSegError
from organseg.evaluation.provenance import describe_run

Record = dict[str, Any]


def report_parser(command: str, summary: str) -> argparse.ArgumentParser:
    """The options of every report: `--preset` and `--out`."""
    parser = argparse.ArgumentParser(prog=f"python -m {command}", description=summary)
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="the sizes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the two files")
    return parser


def run_report(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Record],
    render: Callable[[Record], str],
    packages: Sequence[str],
) -> int:
    """Measures, and writes PRESET.json and PRESET.md; gives the exit status.

    Args:
        parser: the command, as `report_parser` begins it.
        arguments: the command line; by default the process's own.
        measure: the record, as plain values; its `provenance` is added here.
        render: the record as Markdown.
        packages: those whose versions the record names.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    command = parser.prog.removeprefix("python -m ")
    try:
        record = measure(options)
    except OrganSegError as error:
        print(f"{command.rpartition('.')[2]}: {error}", file=sys.stderr)
        return 1
    record["provenance"] = describe_run(given, command, packages)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.preset}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(render(record), encoding="utf-8")
    print(path.with_suffix(".md"))
    return 0
