"""`python -m benchmarks perf-analyzer`: NVIDIA's load generator against a running server."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.options import add_workload_options, concurrency_range, count
from benchmarks.perf_analyzer import (
    DEFAULT_FOLDER,
    REQUIREMENT,
    Level,
    Measurement,
    ensure_perf_analyzer,
    run_perf_analyzer,
)
from benchmarks.perf_input import write_input
from benchmarks.workload import REPO_ROOT, make_workload
from organseg_client import OrganSegClient

_DEFAULTS = Measurement()
_DESCRIPTION = f"""\
Drive a running server over gRPC with the C++ perf_analyzer of {REQUIREMENT}, which
pip fetches into {DEFAULT_FOLDER.relative_to(REPO_ROOT)} the first time. Every user asks again once
answered, so a slow server is asked less and its queue stays short. Arguments behind `--` go to
perf_analyzer as they are, for example `-- --percentile=95 -f levels.csv`.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `perf-analyzer`."""
    parser = commands.add_parser(
        "perf-analyzer",
        help="drive a server with NVIDIA's perf_analyzer",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url", required=True, metavar="HOST:PORT", help="gRPC address of the server"
    )
    parser.add_argument(
        "--concurrency",
        type=concurrency_range,
        default=_DEFAULTS.concurrency,
        metavar="FIRST:LAST:STEP",
        help="users at once (default: %(default)s)",
    )
    parser.add_argument(
        "--window-requests",
        type=count,
        default=_DEFAULTS.window_requests,
        metavar="N",
        help="requests in one measurement window; three in a row must agree (default: %(default)s)",
    )
    parser.add_argument(
        "--stability",
        type=float,
        default=_DEFAULTS.stability_percent,
        metavar="PERCENT",
        help="how far windows may differ in rate and latency (default: %(default)g)",
    )
    parser.add_argument(
        "--trials",
        type=count,
        default=_DEFAULTS.trials,
        metavar="N",
        help="windows at each concurrency before it gives up (default: %(default)s)",
    )
    add_workload_options(parser, requests=32, doc="distinct requests that it sends in turn")
    parser.add_argument("more", nargs="*", metavar="-- ARGUMENT", help="for perf_analyzer itself")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures; prints perf_analyzer's own lines and a table. Raises `OrganSegError`."""
    with OrganSegClient(options.url) as client:
        client.connect()
    program = ensure_perf_analyzer()
    measurement = Measurement(
        options.concurrency,
        options.window_requests,
        options.stability,
        options.trials,
        tuple(options.more),
    )
    with tempfile.TemporaryDirectory(prefix="organseg-perf-input-") as folder:
        input_file = Path(folder, "requests.json")
        workload = make_workload(
            options.requests, options.images, texts=options.questions, seed=options.seed
        )
        write_input(input_file, workload)
        levels = run_perf_analyzer(program, options.url, input_file, measurement, _echo)
    print(levels_table(levels))
    return 0


def levels_table(levels: tuple[Level, ...]) -> str:
    """Markdown: one row per concurrency."""
    rows = [
        f"| {level.concurrency} | {level.requests} | {level.requests_per_second:.2f} "
        f"| {level.p50_ms:.1f} | {level.p95_ms:.1f} | {level.p99_ms:.1f} |"
        for level in levels
    ]
    header = [
        "| users | requests | requests/s | p50, ms | p95, ms | p99, ms |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*header, *rows])


def _echo(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
