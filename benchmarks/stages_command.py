"""`python -m benchmarks stages`: where one request's time goes, from Triton's statistics."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.options import add_workload_options, count
from benchmarks.record import describe_run, write_record
from benchmarks.served import add_server_options, serving
from benchmarks.stages import time_stages
from benchmarks.stages_in_process import (
    Comparison,
    comparison_record,
    comparison_table,
    time_in_process,
)
from benchmarks.stages_report import stages_record, stages_table
from benchmarks.workload import Question, make_workload

_DESCRIPTION = """\
Ask a server one question after another and print, as a Markdown table, the milliseconds that
every stage took by Triton's own statistics, the latency at the client, the critical path, and
the overhead per hop: (mean end to end − compute on the critical path) / stages on that path.
With --release the same requests are answered once more in process, without a server, and stand
beside what Triton made of them.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `stages`."""
    parser = commands.add_parser(
        "stages",
        help="per-stage milliseconds of one request",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
    add_workload_options(parser, requests=50, doc="requests that are timed")
    parser.add_argument(
        "--warm-up",
        type=count,
        default=5,
        metavar="N",
        help="requests in front that are not counted (default: 5)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where any request failed. Raises `OrganSegError`."""
    # Before anything loads the machine, so that its load is that of the others.
    about = describe_run()
    workload = make_workload(
        options.warm_up + options.requests,
        options.images,
        texts=options.questions,
        seed=options.seed,
    )
    warm_up, timed = (
        workload.questions[: options.warm_up],
        workload.questions[options.warm_up :],
    )
    with serving(options.release, options.url) as served:
        server = served.known
        timings = time_stages(served.address, warm_up, timed, _with_progress)
    comparison = None
    if options.release:
        path, answered = time_in_process(options.release, warm_up, timed, _with_progress)
        comparison = Comparison(path, answered, timings)
    workload = replace(workload, questions=timed)
    machine = about["machine"]
    origin = (
        f"Preset `{server['preset']}` on {machine['cpu']}, {machine['cores']} cores, "
        f"load {machine['load_average_1_min']} before."
        if options.release
        else f"Preset `{server['preset']}` on the server at {options.url}."
    )
    print(stages_table(timings, workload, origin))
    if comparison:
        print(f"\n{comparison_table(comparison)}")
    if options.json:
        record = stages_record(timings, workload, len(warm_up), {**about, "server": server})
        record["in_process"] = comparison_record(comparison) if comparison else None
        write_record(options.json, record)
    return 1 if timings.errors else 0


def _with_progress(questions: Sequence[Question]) -> Iterable[Question]:
    shown: Iterable[Question] = tqdm(
        questions, desc="asking", unit="request", disable=not os.isatty(2)
    )
    return shown
