"""`organseg-client health`: whether every server answers questions."""

from __future__ import annotations

import argparse
from typing import Any

from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import Cell, print_json, print_table
from organseg_client.command.exit_codes import ExitCode
from organseg_client.command.parser import add_command, add_json_option
from organseg_client.health import HealthState

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask every server one small question and show what it did. A server whose models
report ready may still be unable to answer, so this does what a user would do. Ends with 0 only
if every server answered."""

_EPILOG = """examples:
  organseg-client health
  organseg-client health --url one:8001,two:8001 --deadline 5
  organseg-client health --json || echo "not all servers answer\""""


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "health",
        run,
        summary="ask every server a small question; ends with 1 unless all answer",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_json_option(parser, "is_healthy, and for each server url, state, seconds, words")
    add_connection_options(parser)


def run(options: argparse.Namespace) -> ExitCode:
    """Asks every server, prints what each did."""
    with open_client(options) as client:
        health = client.health()
    if options.json:
        print_json(health.to_dict())
    else:
        rows = [
            (server.url, _state_cell(server.state), f"{server.seconds * 1000:.0f}", server.words)
            for server in health.servers
        ]
        print_table(("server", "state", "ms", "what it did"), rows, right=("ms",))
    return ExitCode.ANSWERED if health.is_healthy else ExitCode.UNHEALTHY


def _state_cell(state: HealthState) -> Cell:
    return Cell(state.value, "green" if state is HealthState.HEALTHY else "bold red")
