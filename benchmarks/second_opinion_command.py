"""`python -m benchmarks second-opinion`: the same users by locust and by perf_analyzer."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.load.observation import ServerView
from benchmarks.load.options import input_spec
from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.questions import QuestionSource
from benchmarks.load.running import run_window
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Mix, Window
from benchmarks.options import add_input_options, count, positive
from benchmarks.perf_analyzer import Measurement, ensure_perf_analyzer, run_perf_analyzer
from benchmarks.perf_input import write_input
from benchmarks.record import describe_run, write_record
from benchmarks.second_opinion import Opinion, agree, compare, comparison_table
from benchmarks.served import add_server_options, serving
from benchmarks.workload import ImageSource, Workload

_DESCRIPTION = """\
Ask a server by the same number of users with locust and with NVIDIA's perf_analyzer, by turns,
with the same images and questions, and say whether they measure the same: within 15 %, up to
the knee, behind which more users only wait longer (docs/benchmarks.md).
"""

_WINDOWS = 3
"""Windows that perf_analyzer wants to agree: locust's one is as long as these together."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `second-opinion`."""
    parser = commands.add_parser(
        "second-opinion",
        help="the same users by locust and by perf_analyzer",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
    parser.add_argument(
        "--users",
        type=count,
        nargs="+",
        default=[1, 2, 4, 8],
        metavar="N",
        help="users at once (default: 1 2 4 8)",
    )
    parser.add_argument(
        "--turns", type=count, default=3, metavar="N", help="rounds of both (default: 3)"
    )
    parser.add_argument(
        "--window-requests",
        type=count,
        default=40,
        metavar="N",
        help="requests in one of perf_analyzer's windows, of which three must agree; locust "
        "measures three times as many (default: %(default)s)",
    )
    parser.add_argument(
        "--distinct",
        type=count,
        default=32,
        metavar="N",
        help="images that both send again and again (default: %(default)s)",
    )
    parser.add_argument(
        "--stability",
        type=positive,
        default=50.0,
        metavar="PERCENT",
        help="how far perf_analyzer's windows may differ (default: %(default)g)",
    )
    add_input_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where they do not agree. Raises `OrganSegError`."""
    about = describe_run()
    program = ensure_perf_analyzer()
    spec = replace(input_spec(options), repeated_images=options.distinct)
    with (
        serving(options.release, options.url) as server,
        tempfile.TemporaryDirectory(prefix="organseg-second-opinion-") as folder,
    ):
        input_file = Path(folder, "requests.json")
        write_input(input_file, same_workload(spec))
        view = ServerView(server.session, server.address, server.metrics_url)
        target = TargetSpec(TargetKind.ORGAN_SEG, server.address)
        # Else who comes first meets images that the server does not know, and who comes next does.
        first = LoadPlan(Mix.REPEATED, users=1, requests=options.distinct, workload=spec)
        run_window(target, first, view)
        turns = [(turn, users) for turn in range(options.turns) for users in options.users]
        windows, levels = [], []
        for turn, users in tqdm(turns, unit="turn", disable=not os.isatty(2)):
            plan = LoadPlan(
                Mix.REPEATED,
                users=users,
                requests=_WINDOWS * options.window_requests,
                workload=spec,
            )
            windows.append(replace(run_window(target, plan, view), turn=turn))
            measurement = Measurement(
                f"{users}:{users}:1", options.window_requests, options.stability
            )
            (level,) = run_perf_analyzer(program, server.address, input_file, measurement, _quiet)
            levels.append(level)
            print(
                f"{users} users: {windows[-1].per_second:.2f} and "
                f"{level.requests_per_second:.2f} answers/s",
                file=sys.stderr,
            )
    comparisons = compare(
        [(one.users, _opinion(one)) for one in windows],
        [
            (one.concurrency, Opinion(one.requests_per_second, one.p50_ms, one.p95_ms))
            for one in levels
        ],
    )
    print(comparison_table(comparisons))
    if options.json:
        record: dict[str, Any] = {
            "benchmark": "second-opinion",
            "run": about,
            "server": server.known,
            "workload": {"distinct_images": options.distinct, "seed": options.seed},
            "windows": [window.to_json() for window in windows],
            "perf_analyzer": [
                {"turn": turn, **asdict(level)}
                for (turn, _), level in zip(turns, levels, strict=True)
            ],
            "levels": [
                {
                    "users": one.users,
                    "locust": one.locust._asdict(),
                    "perf_analyzer": one.perf_analyzer._asdict(),
                    "rate_difference": one.rate_difference,
                    "latency_difference": one.latency_difference,
                    "is_within_knee": one.is_within_knee,
                    "agrees": one.agrees,
                }
                for one in comparisons
            ],
            "agree": agree(comparisons),
        }
        write_record(options.json, record)
    failed = any(window.failed for window in windows)
    return 0 if agree(comparisons) and not failed else 1


def same_workload(spec: WorkloadSpec) -> Workload:
    """What one of locust's users sends in a round of the mix `repeated`, for perf_analyzer."""
    stream = QuestionSource(spec, Mix.REPEATED).stream(0)
    questions = tuple(asked.question for asked in islice(stream, spec.repeated_images))
    return Workload(questions, ImageSource.FILES if spec.images else ImageSource.SAMPLES)


def _opinion(window: Window) -> Opinion:
    latency = window.latency
    if latency is None:
        # Nothing was answered, which differs wholly from any rate.
        return Opinion(0.0, 0.0, 0.0)
    return Opinion(window.per_second, latency.p50_ms, latency.p95_ms)


def _quiet(_: str) -> None:
    # The table says what its many lines do.
    return None
