"""Parses the arguments of `organseg-client`, runs a subcommand, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import organseg
from organseg.errors import OrganSegError
from organseg_client.command import batch, capabilities, explain, health, segment, stats, ui, volume
from organseg_client.command.connection import ENVIRONMENT_HELP
from organseg_client.command.console import print_json, warn
from organseg_client.command.exit_codes import EXIT_CODE_HELP, ExitCode, exit_code_of

__all__ = ["build_parser", "main"]

_SUBCOMMANDS: tuple[ModuleType, ...] = (
    segment,
    volume,
    explain,
    batch,
    capabilities,
    health,
    stats,
    ui,
)
"""Each has `add_parser(subparsers)`, which sets `run` as its default (`parser.Run`)."""

_EPILOG = f"""examples:
  organseg-client segment slice.png "Which organ stores bile?"
  organseg-client segment scan.nii.gz "Show me both kidneys." --slice 40 --overlay kidneys.png
  organseg-client volume ct.nii.gz "Where is the liver?" --out liver.nii.gz
  organseg-client batch cases.csv --out answers.jsonl
  organseg-client ui scan.nii.gz
  organseg-client health --url one:8001,two:8001

`organseg-client COMMAND --help` shows the options of a command, with examples.

{ENVIRONMENT_HELP}

{EXIT_CODE_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code. What a user did wrong is one line on stderr."""
    options = build_parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except OrganSegError as error:
        return _failed(error, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        warn("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return ExitCode.ANSWERED
    return ExitCode.ANSWERED if code is None else ExitCode(code)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="organseg-client",
        description="Ask an Organ-Seg server questions about abdominal images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=organseg.__version__,
        help="print the client's version and exit",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser


def _failed(error: OrganSegError, *, as_json: bool) -> ExitCode:
    if as_json:
        try:
            print_json({"error": {"class": type(error).__name__, "message": str(error)}})
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
    warn(str(error))
    return exit_code_of(error)


def _drop_stdout() -> None:
    # The reader of a pipe (`| head`) has gone; Python would complain again while it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
