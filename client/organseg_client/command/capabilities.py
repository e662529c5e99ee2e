"""`organseg-client capabilities`: what a server can be asked, and what it is."""

from __future__ import annotations

import argparse
from typing import Any

from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import print_json, print_line, print_table
from organseg_client.command.looks import colour_cell, organ_cell
from organseg_client.command.parser import add_command, add_json_option

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Show which organs a server answers for, by which other names they go, and what the
server is: preset, release, versions, licence, intended use."""

_EPILOG = """examples:
  organseg-client capabilities
  organseg-client capabilities --json --url server:8001"""


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "capabilities",
        run,
        summary="show what a server can be asked, its versions and licence",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_json_option(parser, "organs, versions, release, licence, intended use")
    add_connection_options(parser)


def run(options: argparse.Namespace) -> None:
    """Asks the server and prints what it says of itself."""
    with open_client(options) as client:
        found = client.capabilities()
    if options.json:
        print_json(found.to_dict())
        return
    organs = [
        (
            str(organ.id),
            organ.letter,
            organ_cell(organ.id),
            colour_cell(organ.colour_rgb),
            ", ".join(organ.synonyms),
        )
        for organ in found.organs
    ]
    print_table(("id", "letter", "organ", "colour", "other names"), organs, right=("id",))
    print_line("")
    trained = {True: "yes", False: "no: its answers mean nothing", None: "not said"}
    facts = (
        ("preset", found.preset),
        ("made", found.release.made or "not said"),
        ("trained", trained[found.release.trained]),
        ("weights", found.release.source or "not said"),
        ("contract", found.contract_version),
        ("client", found.client_version),
        ("server", found.server_version),
        ("explains", "yes" if found.can_explain else "no"),
        ("keeps images", "yes" if found.keeps_images else "no"),
        ("licence", found.licence),
        ("intended use", found.intended_use),
    )
    for name, words in facts:
        print_line(f"{name:<14}{words}")
