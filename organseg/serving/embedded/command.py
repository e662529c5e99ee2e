"""`organseg serve RELEASE`: a release, checked and served until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

from organseg.contract import CpuEngine, Platform
from organseg.errors import ServerFaultError, ServerStartError
from organseg.serving.embedded import options as defaults
from organseg.serving.embedded.options import LogLevel, ServerOptions
from organseg.serving.embedded.ports import Endpoints
from organseg.serving.embedded.probe import EnsembleProbe
from organseg.serving.embedded.process import EmbeddedServer
from organseg.serving.embedded.restarts import DEFAULT_RESTARTS, RESTARTS_WITHIN_S, Restarts
from organseg.serving.manifest import (
    MODELS_FOLDER,
    Manifest,
    describe_release,
    require_contract,
    verify_release,
)

ADMIN_KEY_VARIABLE = "ORGANSEG_ADMIN_KEY"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the commands of `organseg`."""
    parser = commands.add_parser(
        "serve",
        help="serve a release with the embedded Triton server",
        description="Check a release, serve it with the Triton server of this Python "
        "environment, and stop on Ctrl-C. A server that ends by itself is started again, at the "
        "same addresses.",
        epilog="Model control, shared memory, trace and log settings, and beyond loopback "
        "(--host) statistics too, need the header key given in the environment variable "
        f"{ADMIN_KEY_VARIABLE}; without it they are closed.",
    )
    parser.add_argument("release", type=Path, help="the folder that `python -m export` wrote")
    parser.add_argument(
        "--host",
        default=defaults.DEFAULT_HOST,
        help="the address to listen on (default: %(default)s; 0.0.0.0 for all networks)",
    )
    for name, what, port in (
        ("--grpc-port", "gRPC", defaults.DEFAULT_GRPC_PORT),
        ("--http-port", "HTTP", defaults.DEFAULT_HTTP_PORT),
        ("--metrics-port", "metrics", defaults.DEFAULT_METRICS_PORT),
    ):
        parser.add_argument(
            name,
            type=int,
            default=port,
            metavar="PORT",
            help=f"port of {what} (default: %(default)s; 0 picks a free one)",
        )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="most threads of the numeric libraries in one model (default: as the model says)",
    )
    parser.add_argument(
        "--engine",
        choices=[engine.value for engine in CpuEngine if engine.runs_graphs],
        help="what runs every graph (default: as each model says); bf16 where rounding is allowed",
    )
    parser.add_argument(
        "--ready-timeout",
        type=float,
        default=defaults.DEFAULT_READY_TIMEOUT_S,
        metavar="SECONDS",
        help="how long loading and the first answer may take (default: %(default)g)",
    )
    parser.add_argument(
        "--stop-timeout",
        type=int,
        default=defaults.DEFAULT_STOP_TIMEOUT_S,
        metavar="SECONDS",
        help="how long requests may take to finish when it stops (default: %(default)s)",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=DEFAULT_RESTARTS,
        metavar="N",
        help="how often it is started again where it ends by itself, in any "
        f"{RESTARTS_WITHIN_S / 60:g} minutes of serving (default: %(default)s; 0 ends with it)",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.value for level in LogLevel],
        default=LogLevel.INFO.value,
        help="how much the server logs (default: %(default)s)",
    )
    parser.add_argument(
        "--log-file", type=Path, metavar="FILE", help="append the server's log to this file"
    )
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Serves until a signal; gives exit status 0. Raises `OrganSegError` for every failure."""
    restarts = Restarts(arguments.restarts)
    options = ServerOptions(
        host=arguments.host,
        grpc_port=arguments.grpc_port,
        http_port=arguments.http_port,
        metrics_port=arguments.metrics_port,
        threads=arguments.threads,
        engine=CpuEngine(arguments.engine) if arguments.engine else None,
        ready_timeout_s=arguments.ready_timeout,
        stop_timeout_s=arguments.stop_timeout,
        log_level=LogLevel(arguments.log_level),
        log_file=arguments.log_file,
        admin_key=os.environ.get(ADMIN_KEY_VARIABLE),
    )
    _stop_on_signals()
    try:
        manifest = _check(arguments.release)
        _say(f"Loading {describe_release(manifest)} …")
        models = arguments.release / MODELS_FOLDER
        served_s = 0.0
        while True:
            with EmbeddedServer(models, options, probe=EnsembleProbe()) as server:
                _say(_announce(server, manifest, options))
                ready_s = time.monotonic()
                server.wait()
                served_s += time.monotonic() - ready_s
                reason = server.explain_end()
            if not restarts.take(served_s):
                raise ServerFaultError(
                    f"the server ended by itself ({reason}): "
                    "start it again, with --log-file to keep what it says"
                )
            kept = "" if options.log_file else " (--log-file keeps what it says)"
            _say(f"The server ended by itself ({reason}). Starting it again{kept} …")
            # Clients know where it was.
            options = _at(server.endpoints, options)
    except KeyboardInterrupt:
        _say("Stopped.")
        return 0


def _at(endpoints: Endpoints, options: ServerOptions) -> ServerOptions:
    """The same options with the ports that were picked."""
    return replace(
        options,
        grpc_port=endpoints.grpc_port,
        http_port=endpoints.http_port,
        metrics_port=endpoints.metrics_port,
    )


def _check(release: Path) -> Manifest:
    """The verified manifest of a release that this server can serve."""
    manifest = verify_release(release)
    if manifest.platform != Platform.PYTHON.value:
        raise ServerStartError(
            f"wanted a release for the platform {Platform.PYTHON.value}, which the embedded server "
            f"runs, got {manifest.platform}: serve it with the container image, or export it with "
            f"--platform {Platform.PYTHON.value}"
        )
    require_contract(manifest)
    return manifest


def _announce(server: EmbeddedServer, manifest: Manifest, options: ServerOptions) -> str:
    lines = [
        f"Organ-Seg is ready ({describe_release(manifest)}).",
        f"  gRPC     {server.grpc_address}",
        f"  HTTP     http://{server.http_address}",
        f"  metrics  {server.metrics_url}",
    ]
    if not server.endpoints.is_loopback:
        lines.append(f"  open to the network on {server.endpoints.address}, without encryption")
    if options.log_file is not None:
        lines.append(f"  log      {options.log_file}")
    lines += [
        "Ask:",
        f'  organseg-client segment IMAGE "Which organ stores bile?" --url {server.grpc_address}',
        "Stop with Ctrl-C.",
    ]
    return "\n".join(lines)


def _stop_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup ignores hang-ups on purpose; Ctrl-C and SIGTERM must always work.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)
