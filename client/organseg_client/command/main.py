"""Parses the arguments of `organseg-client`, runs a subcommand, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import organseg
from organseg.errors import OrganSegError
from organseg_client.command import segment
from organseg_client.command.exit_codes import EXIT_CODE_HELP, ExitCode, exit_code_of

__all__ = ["main"]

_SUBCOMMANDS: tuple[ModuleType, ...] = (segment,)
"""Each has `add_parser(subparsers)`, which sets `run` (options to nothing) as its default."""

_EPILOG = f"""examples:
  organseg-client segment slice.png "Which organ stores bile?"
  organseg-client segment scan.nii.gz "Show me both kidneys." --slice 40 --overlay kidneys.png

{EXIT_CODE_HELP}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code. What a user did wrong is one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except OrganSegError as error:
        print(f"organseg-client: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        print("organseg-client: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; Python would complain again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.ANSWERED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="organseg-client",
        description="Ask an Organ-Seg server questions about abdominal images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=organseg.__version__)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser
