"""`python -m benchmarks scoreboard`: the README's table of speed, from the records in docs."""

from __future__ import annotations

import argparse

from benchmarks.workload import REPO_ROOT
from organseg.evaluation.marked_block import MarkedBlock

RESULTS = REPO_ROOT / "docs" / "results" / "load"
README = REPO_ROOT / "README.md"
BEGIN = "<!-- speed: python -m benchmarks scoreboard -->"
END = "<!-- end of speed -->"
_DESCRIPTION = """\
Render the README's table of speed from docs/results/load/PRESET/*.json, the records of
`python -m benchmarks all`.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `scoreboard`."""
    parser = commands.add_parser(
        "scoreboard",
        help="the README's table of speed, from the records",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Renders or checks; status 1 where the table is out of date or README.md lacks the marks."""
    # Here, since what draws the report takes a while to import, and other commands do without.
    from benchmarks.report.scoreboard import render_scoreboard

    block = MarkedBlock(README, BEGIN, END, remedy="python -m benchmarks scoreboard")
    return (block.check if options.check else block.write)(render_scoreboard(RESULTS))
