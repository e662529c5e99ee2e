"""`python -m benchmarks load-worker`: users for a load test that another machine conducts."""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.workload import REPO_ROOT

_DESCRIPTION = """\
Lend this machine's processors to `python -m benchmarks load --workers N --listen HOST:PORT` on
another one. Takes part in one window after another, until it is interrupted. Files that are named
there, such as images and keys, must be here under the same names; clocks must agree to a fraction
of a window.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `load-worker`."""
    parser = commands.add_parser(
        "load-worker",
        help="users for a load test that another machine conducts",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--master", required=True, metavar="HOST:PORT", help="where the load test listens"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Works until interrupted, or until a worker fails; its exit status."""
    while True:
        command = [sys.executable, "-m", "benchmarks.load.process", options.master]
        status = subprocess.run(command, cwd=REPO_ROOT, check=False).returncode
        if status:
            return status
