"""`organseg-client segment`: one question about one image, answered as a table or JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import print_json, print_line, print_table
from organseg_client.command.files import check_label_name, write_picture
from organseg_client.command.looks import organ_cell, verdict_cell
from organseg_client.command.parser import add_command, add_image_options, add_json_option
from organseg_client.result import SegmentationResult

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask one question about one image. Prints which organs the question asks for,
whether the image shows them, where (box: x1 y1 x2 y2 in pixels), how large (pixels of the mask)
and how sure the mask decoder is (quality, 0 to 1)."""

_EPILOG = """examples:
  organseg-client segment slice.png "Which organ stores bile?"
  organseg-client segment slice.dcm "Where is the spleen?" --json
  organseg-client segment scan.nii.gz "Show me both kidneys." --slice 40 \\
      --overlay kidneys.png --mask kidneys_labels.png
  organseg-client segment slice.npy "Where is the liver?" --window -160 240 --url a:8001,b:8001"""


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "segment",
        run,
        summary="ask one question about one image",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_image_options(parser)
    add_json_option(parser, "verdict, organs with box, area and quality, similarities, timings")
    parser.add_argument(
        "--overlay", metavar="FILE", type=Path, help="write the image with masks drawn over it"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        type=Path,
        help="write a PNG whose grey values are organ ids: 0 background, 1 liver to 13 left kidney",
    )
    add_connection_options(parser)


def run(options: argparse.Namespace) -> None:
    """Asks, writes the files that were asked for, prints the answer."""
    if options.mask is not None:
        check_label_name(options.mask, "--mask")
    with open_client(options) as client:
        result = client.segment(
            options.image,
            options.question,
            window=options.window,
            slice_index=options.slice_index,
        )
    if options.overlay is not None:
        write_picture(options.overlay, result.overlay().save)
    if options.mask is not None:
        write_picture(options.mask, result.write_label_png)
    if options.json:
        print_json(result.to_dict())
    else:
        _report(result)


def _report(result: SegmentationResult) -> None:
    rows = [
        (
            organ_cell(organ.id),
            organ.letter,
            verdict_cell(organ.verdict),
            " ".join(f"{edge:.0f}" for edge in box) if area else "-",
            str(area) if area else "-",
            f"{quality:.2f}" if area else "-",
        )
        for organ, box, area, quality in zip(
            result.organs, result.boxes, result.areas_pixels(), result.quality, strict=True
        )
    ]
    header = ("organ", "letter", "verdict", "box", "pixels", "quality")
    print_table(header, rows, right=("pixels", "quality"))
    print_line("")
    print_line(f"{result.reason} ({result.seconds * 1000:.0f} ms)")
