"""`organseg-client explain`: the answer in words, printed as the language model writes it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import print_json, say
from organseg_client.command.parser import add_command, add_image_options, add_json_option
from organseg_client.deadline import EXPLANATION_DEADLINE_S

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask one question about one image and print the answer in words, as the language
model writes it. It is written for the verdict and the organ that `segment` finds, which are asked
first and shown on stderr. Slower than `segment`, and only where the server has the model for it
(`organseg-client capabilities`). Ctrl-C stops the writing on the server, too."""

_EPILOG = """examples:
  organseg-client explain slice.png "Which organ stores bile?"
  organseg-client explain scan.nii.gz "Where is the spleen?" --slice 40 --max-tokens 60
  organseg-client explain slice.png "Which organ stores bile?" --json"""


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "explain",
        run,
        summary="ask one question about one image and get the answer in words",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_image_options(parser)
    add_json_option(
        parser, "text, finish (why it ended), request_id, and as result what `segment` prints"
    )
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=int,
        help="stop after N tokens, some three quarters as many words (default: the server's)",
    )
    add_connection_options(parser)
    parser.set_defaults(deadline=EXPLANATION_DEADLINE_S)


def run(options: argparse.Namespace) -> None:
    """Asks, prints the text piece by piece; with `--json` at the end, all at once."""
    with (
        open_client(options) as client,
        client.explain(
            options.image,
            options.question,
            max_tokens=options.max_tokens,
            window=options.window,
            slice_index=options.slice_index,
        ) as explanation,
    ):
        say(explanation.result.reason, "bold")
        try:
            for piece in explanation:
                if not options.json:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        finally:
            if not options.json and explanation.text and not explanation.text.endswith("\n"):
                sys.stdout.write("\n")
    if options.json:
        print_json(
            {
                "text": explanation.text,
                "finish": None if explanation.finish is None else explanation.finish.value,
                "request_id": explanation.request_id,
                "result": explanation.result.to_dict(),
            }
        )
