"""The server that a measurement asks: one that runs, or a release served for its time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from organseg.contract import ENSEMBLE_NAME
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import GrpcTransport

_DEADLINE_S = 120.0


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--release` and `--url`, of which one must be given: what `served` takes."""
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        help="a release, which is served for the time of the measurement",
    )
    server.add_argument("--url", metavar="HOST:PORT", help="gRPC address of a server that runs")


@contextmanager
def served(release: Path | None, url: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
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
        parameters = transport.model_config(ENSEMBLE_NAME, _DEADLINE_S).parameters
    finally:
        transport.close()
    return {"preset": parameters.get("preset", "unknown")}
