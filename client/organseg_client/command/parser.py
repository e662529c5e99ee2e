"""How the help of every subcommand is laid out, and the options that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from organseg_client.command.exit_codes import EXIT_CODE_HELP, ExitCode

__all__ = ["Run", "add_command", "add_image_options", "add_json_option", "add_window_option"]

Run = Callable[[argparse.Namespace], "ExitCode | None"]
"""Runs a subcommand with its options; gives how it ended, None for `ExitCode.ANSWERED`."""


def add_command(
    subparsers: Any, name: str, run: Run, *, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """A subcommand's parser: what it does, then its options, then `epilog` and the exit codes.

    `summary` is its line in the list of commands; `epilog` begins with examples.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{epilog}\n\n{EXIT_CODE_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds `--json`; `what` says what the document holds."""
    parser.add_argument(
        "--json",
        action="store_true",
        help=f"print one JSON document on stdout and nothing else: {what}; where the command "
        'fails, {"error": {"class", "message"}}',
    )


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Adds IMAGE, QUESTION, `--slice` and `--window`: one image and what is asked about it."""
    parser.add_argument(
        "image",
        metavar="IMAGE",
        type=Path,
        help="PNG, JPEG, single-frame DICOM or .npy file; a NIfTI file or a folder of one DICOM "
        "series with --slice",
    )
    parser.add_argument("question", metavar="QUESTION", help="one sentence in plain words")
    parser.add_argument(
        "--slice",
        metavar="N",
        type=int,
        dest="slice_index",
        help="which axial slice of a volume, 0 at the feet",
    )
    add_window_option(parser)


def add_window_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--window LOW HIGH`."""
    parser.add_argument(
        "--window",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="values that become black and white, such as -160 240 for CT in HU (default: CT's "
        "abdominal window, or one from the image)",
    )
