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
from benchmarks.workload import make_workload
from organseg.imaging.encoding import encode_npy, encode_png
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import ApiKey, GrpcTransport, OrganSegClient, SharedMemory
from organseg_client.transports.shared_memory import Thresholds

_DESCRIPTION = """\
Ask a served release the same question about one image in rising sizes, by turns over the
connection alone and with image and masks in shared memory, whatever their size. Prints, as a
Markdown table, the median milliseconds of each and of the difference between neighbours.
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
    """Median, all over the connection."""
    shared_ms: float
    """Median, image and masks in shared memory."""
    saved_ms: float
    """Median of what each request saved against the one in front of it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `shared-memory`."""
    parser = commands.add_parser(
        "shared-memory",
        help="what shared memory gains, by the size of the image",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        required=True,
        help="a release, which is served for the time of the measurement",
    )
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
                gains.append(_compare(connection, shared, side, name, image, requests))
        return gains


def _compare(
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
    pairs = [(_time(connection, image), _time(shared, image)) for _ in range(requests)]
    without, within = zip(*pairs, strict=True)
    return Gain(
        side,
        name,
        len(image),
        mask_bytes,
        statistics.median(without),
        statistics.median(within),
        statistics.median(first - second for first, second in pairs),
    )


def _time(client: OrganSegClient, image: bytes) -> float:
    started = time.perf_counter()
    client.segment(image, _QUESTION)
    return (time.perf_counter() - started) * 1000


def _table(gains: list[Gain]) -> str:
    lines = [
        "| image | file | image MB | masks MB | connection ms | shared ms | saved ms |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {gain.side}² | {gain.file} | {gain.image_bytes / 1e6:.2f} "
        f"| {gain.mask_bytes / 1e6:.2f} | {gain.connection_ms:.0f} | {gain.shared_ms:.0f} "
        f"| {gain.saved_ms:.0f} |"
        for gain in gains
    ]
    return "\n".join(lines)
