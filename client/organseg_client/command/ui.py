"""`organseg-client ui`: a page in the browser, served by this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError
from organseg_client.command.connection import add_connection_options, connection_options, urls_of
from organseg_client.command.exit_codes import ExitCode
from organseg_client.command.parser import add_command
from organseg_client.page.options import (
    DEFAULT_PORT,
    PageLimits,
    PageOptions,
    is_loopback,
    new_token,
)

__all__ = ["add_parser", "page_options", "run"]

_DESCRIPTION = """Open a page in the browser: open an image, a NIfTI volume or a DICOM series, ask
in words, see the organs in colour, ask the next question, take masks home. Images go from the
browser to this command and from there to the Organ-Seg server, nowhere else. The page answers this
machine alone; for others give --host and the address that is printed, with its token. The way there
is not encrypted: where others can listen put a proxy with TLS in front, or use an SSH tunnel."""

_EPILOG = """examples:
  organseg-client ui
  organseg-client ui scan.nii.gz
  organseg-client ui dicom_folder/ --url gpu-server:8001
  organseg-client ui --host 0.0.0.0 --no-browser      # prints an address with a random token"""

_MIB = 2**20


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    limits = PageLimits()
    parser = add_command(
        subparsers,
        "ui",
        run,
        summary="open a page in the browser: scroll, ask, see",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "image",
        metavar="IMAGE",
        nargs="?",
        type=Path,
        help="PNG, JPEG, single-frame DICOM, .npy or NIfTI file, or a folder of one DICOM series, "
        "to be open from the start",
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address to listen at; any but this machine's own wants a token, which is made "
        "up and printed (default: %(default)s)",
    )
    page.add_argument(
        "--port",
        metavar="N",
        type=int,
        default=DEFAULT_PORT,
        help="the port to listen at, 0 for any that is free (default: %(default)s)",
    )
    page.add_argument(
        "--no-browser", action="store_true", help="print the address, open no browser"
    )
    page.add_argument(
        "--memory",
        metavar="MIB",
        type=int,
        default=limits.memory_bytes // _MIB,
        help="what all open scans may hold together (default: %(default)s)",
    )
    page.add_argument(
        "--scans",
        metavar="N",
        type=int,
        default=limits.scans,
        help="how many scans may be open at once (default: %(default)s)",
    )
    page.add_argument(
        "--idle",
        metavar="MINUTES",
        type=float,
        default=limits.idle_s / 60,
        help="after how long without use a scan is closed (default: %(default)g)",
    )
    add_connection_options(parser)


def run(options: argparse.Namespace) -> ExitCode | None:
    """Serves the page until Ctrl-C."""
    from organseg_client.page.serving import open_browser, serve_page

    def announce(url: str) -> None:
        print(f"Organ-Seg is at {url}\nCtrl-C stops it. Research use only: not a medical device.")
        sys.stdout.flush()
        if not options.no_browser:
            open_browser(url)

    serve_page(page_options(options), announce)
    return None


def page_options(options: argparse.Namespace) -> PageOptions:
    """The page that the options describe; raises `InvalidInputError` where they make none."""
    if not 0 <= options.port < 2**16:
        raise InvalidInputError(
            f"wanted a --port from 0 to 65535, got {options.port}; 0 is for any that is free"
        )
    return PageOptions(
        servers=urls_of(options),
        host=options.host,
        port=options.port,
        token=None if is_loopback(options.host) else new_token(),
        deadline_s=options.deadline,
        connection=connection_options(options),
        limits=PageLimits(
            scans=options.scans, memory_bytes=options.memory * _MIB, idle_s=options.idle * 60
        ),
        first_scan=options.image,
    )
