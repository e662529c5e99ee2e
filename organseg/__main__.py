"""The command `organseg`: one subcommand per job, each written in the room that does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from organseg import __version__
from organseg.errors import OrganSegError
from organseg.serving import health_command as health
from organseg.serving import verify_command as verify
from organseg.serving.embedded import command as serve

AddCommand = Callable[["argparse._SubParsersAction[argparse.ArgumentParser]"], None]
"""Adds one subcommand, whose parser sets `run`: arguments to exit status."""

COMMANDS: tuple[AddCommand, ...] = (serve.add_command, verify.add_command, health.add_command)


def main(arguments: Sequence[str] | None = None, commands: Sequence[AddCommand] = COMMANDS) -> int:
    """Runs the command line and gives the exit status.

    A failure that organseg raises on purpose becomes one line on stderr and status 1.
    """
    parser = argparse.ArgumentParser(
        prog="organseg",
        description="Ask an abdominal image a question in plain words; get the organ, its mask, "
        "its box and a verdict.",
    )
    parser.add_argument("--version", action="version", version=f"organseg {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in commands:
        add_command(subparsers)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except OrganSegError as error:
        print(f"organseg: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
