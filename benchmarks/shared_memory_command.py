"""`python -m benchmarks shared-memory`: what shared memory gains, by the size of the image."""

from __future__ import annotations

import argparse
import io
import secrets
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from benchmarks.served import add_release_option
from benchmarks.statistics import StatisticsReader
from benchmarks.workload import make_workload
from organseg.contract import ENSEMBLE_NAME
from organseg.imaging.encoding import encode_npy, encode_png
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import ApiKey, GrpcTransport, OrganSegClient, SharedMemory
from organseg_client.transports.shared_memory import Thresholds

_DESCRIPTION = """\
Ask a served release the same question about one image in rising sizes, by turns over the
connection alone and with image and masks in shared memory, whatever their size. Prints, as a
Markdown table, the median milliseconds of the whole request and of its way: the request without
the time that it spent inside the server by Triton's own statistics, so that the noise of the
models' work does not hide what the way costs.
"""

_SIDES = (512, 1024, 2048, 4096)
_QUESTION = "Show me the liver."
_WARM_UP = 2
_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Gain:
    """One image, both ways."""

    side: int
    """Its rows and columns."""
    file: str
    """What it is sent as."""
    image_bytes: int
    """The encoded image."""
    mask_bytes: int
    """The masks of the answer."""
    connection_ms: float
    """Median of the request, all over the connection."""
    shared_ms: float
    """Median of the request, image and masks in shared memory."""
    connection_way_ms: float
    """Median of the way alone, over the connection."""
    shared_way_ms: float
    """Median of the way alone, in shared memory."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `shared-memory`."""
    parser = commands.add_parser(
        "shared-memory",
        help="what shared memory gains, by the size of the image",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_release_option(parser)
    parser.add_argument(
        "--requests",
        type=count,
        default=20,
        metavar="N",
        help="requests of each image that are timed, each way (default: 20)",
    )
    parser.add_argument(
        "--sides",
        type=count,
        nargs="+",
        default=_SIDES,
        metavar="PIXELS",
        help=f"rows and columns of the images (default: {' '.join(map(str, _SIDES))})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports. Raises `OrganSegError`."""
    about = describe_run()
    manifest = verify_release(options.release)
    key = secrets.token_hex(16)
    print(f"Loading preset {manifest.preset} …", file=sys.stderr, flush=True)
    server_options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, admin_key=key)
    with EmbeddedServer(
        options.release / MODELS_FOLDER, server_options, probe=EnsembleProbe()
    ) as server:
        gains = _measure(server.grpc_address, key, options.sides, options.requests)
    print(_table(gains))
    if options.json:
        rows = [asdict(gain) for gain in gains]
        write_record(
            options.json,
            {**about, "preset": manifest.preset, "requests": options.requests, "gains": rows},
        )
    return 0


def _measure(address: str, key: str, sides: Sequence[int], requests: int) -> list[Gain]:
    picture = Image.open(io.BytesIO(make_workload(1).questions[0].image)).convert("L")
    api_key = ApiKey(key, f"triton-grpc-protocol-{ADMIN_HEADER}")
    with ExitStack() as opened:
        reader = opened.enter_context(StatisticsReader(address))
        connection, shared = (
            opened.enter_context(
                OrganSegClient(
                    address,
                    deadline_s=_DEADLINE_S,
                    transport=GrpcTransport(
                        address, api_key=api_key, shared_memory=mode, thresholds=Thresholds(1, 1)
                    ),
                )
            )
            for mode in (SharedMemory.OFF, SharedMemory.REQUIRED)
        )
        gains = []
        for side in sides:
            pixels = np.asarray(picture.resize((side, side)))
            files = {"PNG": encode_png(pixels), "npy int16": encode_npy(pixels.astype(np.int16))}
            for name, image in files.items():
                gains.append(_compare(reader, connection, shared, side, name, image, requests))
        return gains


def _compare(
    reader: StatisticsReader,
    connection: OrganSegClient,
    shared: OrganSegClient,
    side: int,
    name: str,
    image: bytes,
    requests: int,
) -> Gain:
    for _ in range(_WARM_UP):
        mask_bytes = connection.segment(image, _QUESTION).masks.nbytes
        shared.segment(image, _QUESTION)
    pairs = [
        (*_time(reader, connection, image), *_time(reader, shared, image)) for _ in range(requests)
    ]
    without, without_way, within, within_way = map(statistics.median, zip(*pairs, strict=True))
    return Gain(side, name, len(image), mask_bytes, without, within, without_way, within_way)


def _time(reader: StatisticsReader, client: OrganSegClient, image: bytes) -> tuple[float, float]:
    """Milliseconds of a request, and those of them outside the server."""
    before = reader.read_settled({})[ENSEMBLE_NAME]
    started = time.perf_counter()
    client.segment(image, _QUESTION)
    request_ms = (time.perf_counter() - started) * 1000
    after = reader.read_settled({ENSEMBLE_NAME: before.requests + 1})[ENSEMBLE_NAME]
    return request_ms, request_ms - after.since(before).in_server_ns / 1e6


def _table(gains: list[Gain]) -> str:
    lines = [
        "| image | file | image MB | masks MB | request ms: connection | shared "
        "| way alone ms: connection | shared |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {gain.side}² | {gain.file} | {gain.image_bytes / 1e6:.2f} "
        f"| {gain.mask_bytes / 1e6:.2f} | {gain.connection_ms:.0f} | {gain.shared_ms:.0f} "
        f"| {gain.connection_way_ms:.1f} | {gain.shared_way_ms:.1f} |"
        for gain in gains
    ]
    return "\n".join(lines)
