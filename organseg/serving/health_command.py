"""`organseg health`: whether a server answers a real question, as a container's health check."""

from __future__ import annotations

import argparse
import time

from organseg.serving.embedded.options import DEFAULT_GRPC_PORT, DEFAULT_HOST
from organseg.serving.embedded.probe import EnsembleProbe

DEFAULT_TIMEOUT_S = 20.0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `health` to the commands of `organseg`."""
    parser = commands.add_parser(
        "health",
        help="ask a server one small question and say whether it answered",
        description="Send a small picture and a question through the whole ensemble of a running "
        "server. A server may call itself ready while a model's process is dead, so only an "
        "answer counts. Exit status 1 and one line say what is wrong.",
    )
    parser.add_argument(
        "--url",
        metavar="HOST:PORT",
        default=f"{DEFAULT_HOST}:{DEFAULT_GRPC_PORT}",
        help="the server's gRPC address (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="how long the answer may take (default: %(default)g)",
    )
    parser.set_defaults(run=ask)


def ask(arguments: argparse.Namespace) -> int:
    """Asks once; gives exit status 0. Raises `OrganSegError` where no full answer came."""
    probe = EnsembleProbe(timeout_s=arguments.timeout)
    started = time.monotonic()
    probe(arguments.url)
    print(f"{arguments.url} answered in {time.monotonic() - started:.2f} s")
    return 0
