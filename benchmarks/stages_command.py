"""`python -m benchmarks stages`: where one request's time goes, from Triton's statistics."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.options import add_workload_options, count
from benchmarks.record import describe_run, write_record
from benchmarks.stages import DEADLINE_S, time_stages
from benchmarks.stages_report import stages_record, stages_table
from benchmarks.workload import Question, make_workload
from organseg.contract import ENSEMBLE_NAME
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import GrpcTransport

_DESCRIPTION = """\
Ask a server one question after another and print, as a Markdown table, the milliseconds that
every stage took by Triton's own statistics, the latency at the client, the critical path, and
the overhead per hop: (mean end to end − compute on the critical path) / stages on that path.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `stages`."""
    parser = commands.add_parser(
        "stages",
        help="per-stage milliseconds of one request",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        help="a release, which is served for the time of the measurement",
    )
    server.add_argument("--url", metavar="HOST:PORT", help="gRPC address of a server that runs")
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
    with _server(options.release, options.url) as (address, server):
        timings = time_stages(address, warm_up, timed, _with_progress)
    workload = replace(workload, questions=timed)
    machine = about["machine"]
    origin = (
        f"Preset `{server['preset']}` on {machine['cpu']}, {machine['cores']} cores, "
        f"load {machine['load_average_1_min']} before."
        if options.release
        else f"Preset `{server['preset']}` on the server at {options.url}."
    )
    print(stages_table(timings, workload, origin))
    if options.json:
        write_record(
            options.json,
            stages_record(timings, workload, len(warm_up), {**about, "server": server}),
        )
    return 1 if timings.errors else 0


@contextmanager
def _server(release: Path | None, url: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The address of the server to measure and what is known of it; our own ends with the block."""
    if release is None:
        address = str(url)
        yield address, {"address": address, "release": None, **_preset(address)}
        return
    manifest = verify_release(release)
    known = {
        "preset": manifest.preset,
        "platform": manifest.platform,
        "trained": manifest.trained,
        "created": manifest.created,
        "contract_version": manifest.contract_version,
    }
    print(f"Loading preset {manifest.preset} …", file=sys.stderr, flush=True)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe()) as server:
        address = server.grpc_address
        yield address, {"address": "embedded", "release": known, **_preset(address)}


def _preset(address: str) -> dict[str, str]:
    transport = GrpcTransport(address)
    try:
        parameters = transport.model_config(ENSEMBLE_NAME, DEADLINE_S).parameters
    finally:
        transport.close()
    return {"preset": parameters.get("preset", "unknown")}


def _with_progress(questions: Sequence[Question]) -> Iterable[Question]:
    shown: Iterable[Question] = tqdm(
        questions, desc="asking", unit="request", disable=not os.isatty(2)
    )
    return shown
