"""`python -m benchmarks report`: records of load tests as Markdown and as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import write_text

MARKDOWN = "report.md"
PAGE = "report.html"
_TITLE = "How fast Organ-Seg is"
_DESCRIPTION = f"""\
Render records that the other commands wrote with --json as {MARKDOWN} and as {PAGE}, one file with
the plots inside, which asks nothing of a network. What was not measured says which command does.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `report`."""
    parser = commands.add_parser(
        "report",
        help="records as Markdown and as one page with plots",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--records", type=Path, nargs="+", required=True, metavar="FILE", help="JSON records"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where both files are written"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Renders both; raises `RecordError` for a file that is no record."""
    for path in write_report(options.records, options.out):
        print(path)
    return 0


def write_report(records: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """Writes the report of these records and gives its two files. Raises `RecordError`."""
    # Here, since drawing takes a while to import, and other commands do without.
    from benchmarks.report.markdown import render_markdown
    from benchmarks.report.page import render_page
    from benchmarks.report.records import read_records
    from benchmarks.report.sections import lead, report_sections

    presets = read_records(records)
    sections, line = tuple(report_sections(presets)), lead(presets)
    markdown, page = folder / MARKDOWN, folder / PAGE
    write_text(markdown, render_markdown(_TITLE, line, sections))
    write_text(page, render_page(_TITLE, line, sections))
    return markdown, page
