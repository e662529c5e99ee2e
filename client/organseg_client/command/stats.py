"""`organseg-client stats`: what the models of each server have done since they were loaded."""

from __future__ import annotations

import argparse
from typing import Any

from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import Cell, print_json, print_table, warn
from organseg_client.command.exit_codes import ExitCode, exit_code_of
from organseg_client.command.parser import add_command, add_json_option

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Show what each model of each server has done since it was loaded: requests
answered and failed, how often the model ran and on how many requests at once (batch), and the
mean milliseconds that a request waited and was worked on."""

_EPILOG = """examples:
  organseg-client stats
  organseg-client stats --url one:8001,two:8001 --json"""

_HEADER = (
    "server",
    "model",
    "version",
    "answered",
    "failed",
    "runs",
    "batch",
    "queue ms",
    "compute ms",
)


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "stats",
        run,
        summary="show what each server's models have done",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_json_option(parser, "for each server its models with counts and mean milliseconds")
    add_connection_options(parser)


def run(options: argparse.Namespace) -> ExitCode:
    """Asks every server, prints its counts; ends as its error says where one did not answer."""
    with open_client(options) as client:
        statistics = client.statistics()
    if options.json:
        print_json(statistics.to_dict())
    else:
        rows = [
            (
                server.url,
                model.name,
                model.version,
                str(model.successes),
                Cell(str(model.failures), "bold red" if model.failures else ""),
                str(model.executions),
                f"{model.mean_batch:.2f}",
                f"{model.queue_ms:.1f}",
                f"{model.compute_ms:.1f}",
            )
            for server in statistics.servers
            for model in server.models
        ]
        print_table(_HEADER, rows, right=_HEADER[3:])
    errors = [server.error for server in statistics.servers if server.error is not None]
    for server in statistics.servers:
        if server.error is not None:
            warn(f"{server.url}: {server.error}")
    return max(map(exit_code_of, errors), default=ExitCode.ANSWERED)
