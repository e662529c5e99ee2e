"""The server that a measurement asks: one that runs, or a release served for its time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organseg.contract import ENSEMBLE_NAME
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.embedded.readiness import is_open
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import ConnectionOptions, GrpcTransport

_DEADLINE_S = 120.0
_LAST_BREATH_S = 1.0
_RELEASE: dict[str, Any] = {
    "type": Path,
    "metavar": "DIR",
    "help": "a release, which is served for the time of the measurement",
}


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--release` and `--url`, of which one must be given: what `serving` takes."""
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--release", **_RELEASE)
    server.add_argument("--url", metavar="HOST:PORT", help="gRPC address of a server that runs")


def add_release_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--release`, which must be given: for what looks into the server's processes."""
    parser.add_argument("--release", required=True, **_RELEASE)


@dataclass(frozen=True)
class Served:
    """A server to measure."""

    address: str
    """`HOST:PORT` of gRPC."""
    known: dict[str, Any]
    """What is known of it, as plain values for a record."""
    session: int | None = None
    """The session of its processes; None for one that was named by address."""
    metrics_url: str | None = None
    """Where it tells its metrics; None for one that was named by address."""


@contextmanager
def serving(
    release: Path | None, url: str | None, options: ConnectionOptions | None = None
) -> Iterator[Served]:
    """The server to measure, reached by `options`; our own ends with the block."""
    if release is None:
        address = str(url)
        known = {"address": address, "release": None, "preset": preset_of(address, options)}
        yield Served(address, known)
        return
    manifest = verify_release(release)
    about = {
        "preset": manifest.preset,
        "platform": manifest.platform,
        "trained": manifest.trained,
        "created": manifest.created,
        "contract_version": manifest.contract_version,
    }
    print(f"Loading preset {manifest.preset} …", file=sys.stderr, flush=True)
    server_options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with EmbeddedServer(release / MODELS_FOLDER, server_options, probe=EnsembleProbe()) as server:
        address = server.grpc_address
        preset = preset_of(address)
        known_here: dict[str, Any] = {"address": "embedded", "release": about, "preset": preset}
        try:
            yield Served(address, known_here, server.process_group, server.metrics_url)
        finally:
            # Who asked it has only found nobody there, a moment before all its processes are gone.
            if not is_open(server.endpoints.local_host, server.endpoints.grpc_port):
                server.wait(_LAST_BREATH_S)
            if not server.is_running:
                print(f"The server ended by itself: {server.explain_end()}", file=sys.stderr)


def preset_of(address: str, options: ConnectionOptions | None = None) -> str:
    """The preset that a server says it serves, else `unknown`; raises `OrganSegError`."""
    options = options or ConnectionOptions()
    # Of several servers the first speaks for all.
    first = address.split(",")[0]
    transport = GrpcTransport(first, tls=options.tls, api_key=options.api_key)
    try:
        parameters = transport.model_config(ENSEMBLE_NAME, _DEADLINE_S).parameters
    finally:
        transport.close()
    return parameters.get("preset", "unknown")
