"""`python -m benchmarks all`: every part of the load tests, then their report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.all_parts import PARTS
from benchmarks.all_running import LOGS, Outcome, Run, run_parts
from benchmarks.report.command import write_report
from organseg.serving.manifest import verify_release

_DESCRIPTION = f"""\
Measure a release in every way, in this order: {", ".join(part.name for part in PARTS)}; then write
report.md and report.html beside the records. Each part is a command of its own, with a log in
DIR/logs; one that fails is told and the next one begins. What an earlier run measured with the same
commit and release is kept. Under 20 minutes for `tiny` on two cores, a few with --quick, which
shows that everything works and measures nothing well.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `all`."""
    parser = commands.add_parser(
        "all",
        help="every part of the load tests, and the report",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--release", type=Path, required=True, metavar="DIR", help="what is served and measured"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for the records and the report"
    )
    parser.add_argument("--quick", action="store_true", help="short windows, few turns")
    parser.add_argument("--again", action="store_true", help="keep nothing of an earlier run")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[part.name for part in PARTS],
        metavar="PART",
        help="these parts; the report has the records of the others that are there",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where a part failed. Raises `OrganSegError`."""
    manifest = verify_release(options.release)
    whole = Run(
        options.release.resolve(),
        manifest.preset,
        options.out.resolve(),
        is_quick=options.quick,
        is_again=options.again,
    )
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    results = list(run_parts(whole, parts, _say))
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    faulty = [result for result in results if result.outcome is Outcome.FAULTY]
    # Also those of parts that were not run now, and of commands that are none of the parts.
    stale = {result.record for result in failed}
    records = [path for path in sorted(whole.folder.glob("*.json")) if path not in stale]
    if records:
        for path in write_report(records, whole.folder):
            _say(f"{path}\n")
    for result in failed + faulty:
        _say(f"{result.part.name} {result.outcome.value}: see {LOGS}/{result.part.name}.log\n")
    return 1 if failed or faulty else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
