"""`python -m benchmarks all`: every part of the load tests, then their report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.all_parts import PARTS, Part
from benchmarks.all_running import LOGS, Outcome, Run, run_parts
from benchmarks.load.options import input_spec
from benchmarks.options import add_input_options
from benchmarks.report.command import write_report
from benchmarks.served import add_server_options, preset_of
from benchmarks.workload import read_image
from organseg.errors import InvalidInputError
from organseg.serving.manifest import verify_release

_LOCAL = ", ".join(part.name for part in PARTS if part.is_local)

_DESCRIPTION = f"""\
Measure a release in every way, in this order: {", ".join(part.name for part in PARTS)}; then write
report.md and report.html beside the records. Each part is a command of its own, with a log in
DIR/logs; one that fails is told and the next one begins. What an earlier run measured with the same
commit, release, images and arguments is kept; with uncommitted changes nothing is. Under 20 minutes
for `tiny` on two cores, a few with --quick, which shows that everything works and measures nothing
well.

With --url a server that runs is measured: without {_LOCAL}, which compares servers on this machine,
and every time anew, since what is served there may have changed.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `all`."""
    parser = commands.add_parser(
        "all",
        help="every part of the load tests, and the report",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
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
    add_input_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where a part failed. Raises `OrganSegError`."""
    parts = _chosen(options)
    for image in options.images:
        # Else every part would fail for it, one after another.
        read_image(image)
    whole = Run(
        options.release and options.release.resolve(),
        verify_release(options.release).preset if options.release else preset_of(options.url),
        options.out.resolve(),
        url=options.url,
        inputs=input_spec(options),
        is_quick=options.quick,
        is_again=options.again,
    )
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


def _chosen(options: argparse.Namespace) -> list[Part]:
    """The parts to run; raises `InvalidInputError` for one named that cannot ask a `--url`."""
    chosen = [part for part in PARTS if not options.only or part.name in options.only]
    if options.release:
        return chosen
    local = ", ".join(part.name for part in chosen if part.is_local)
    if local and options.only:
        raise InvalidInputError(
            f"wanted parts that ask the server at --url, got {local}, which compares servers on "
            "this machine: leave it out of --only, or name a --release instead of --url"
        )
    if local:
        _say(f"Without {local}, which compares servers on this machine: it wants --release.\n")
    return [part for part in chosen if not part.is_local]


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
