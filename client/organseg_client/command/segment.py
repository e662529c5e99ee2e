"""`organseg-client segment`: one question about one image, answered as a table or JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError
from organseg_client.client import DEFAULT_URL, OrganSegClient
from organseg_client.command.exit_codes import EXIT_CODE_HELP
from organseg_client.command.table import render_table
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.result import SegmentationResult

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask one question about one image. Prints which organs the question asks for,
whether the image shows them, where (box: x1 y1 x2 y2 in pixels), how large (pixels of the mask)
and how sure the mask decoder is (quality, 0 to 1)."""

_EPILOG = f"""examples:
  organseg-client segment slice.png "Which organ stores bile?"
  organseg-client segment slice.dcm "Where is the spleen?" --json
  organseg-client segment scan.nii.gz "Show me both kidneys." --slice 40 \\
      --overlay kidneys.png --mask kidneys_labels.png

{EXIT_CODE_HELP}"""


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = subparsers.add_parser(
        "segment",
        help="ask one question about one image",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image",
        metavar="IMAGE",
        type=Path,
        help="PNG, JPEG, single-frame DICOM or .npy file; a NIfTI file or a folder of one DICOM "
        "series with --slice",
    )
    parser.add_argument("question", metavar="QUESTION", help="one sentence in plain words")
    parser.add_argument(
        "--url",
        metavar="HOST:PORT",
        default=DEFAULT_URL,
        help="the server's gRPC address (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON, without masks"
    )
    parser.add_argument(
        "--overlay", metavar="FILE", type=Path, help="write the image with masks drawn over it"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        type=Path,
        help="write a PNG whose grey values are organ ids: 0 background, 1 liver to 13 left kidney",
    )
    parser.add_argument(
        "--slice",
        metavar="N",
        type=int,
        dest="slice_index",
        help="which axial slice of a volume, 0 at the feet",
    )
    parser.add_argument(
        "--window",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="values that become black and white, such as -160 240 for CT in HU",
    )
    parser.add_argument(
        "--deadline",
        type=float,
        metavar="S",
        default=DEFAULT_DEADLINE_S,
        help="seconds to wait in all (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Asks, writes the files that were asked for, prints the answer."""
    if options.mask is not None and options.mask.suffix.lower() != ".png":
        raise InvalidInputError(
            "wanted a file name ending in .png for --mask, got another; labels need that format"
        )
    with OrganSegClient(options.url, deadline_s=options.deadline) as client:
        result = client.segment(
            options.image,
            options.question,
            window=options.window,
            slice_index=options.slice_index,
        )
    if options.overlay is not None:
        _write(options.overlay, result.overlay().save)
    if options.mask is not None:
        _write(options.mask, result.write_label_png)
    print(result.to_json(indent=2) if options.json else _report(result))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    # ValueError and KeyError are Pillow's for a suffix that names no format it writes.
    except (OSError, ValueError, KeyError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidInputError(
            f"wanted to write {path}, got: {words}; choose a writable place and a name ending "
            "in .png"
        ) from error


def _report(result: SegmentationResult) -> str:
    rows = [
        (
            organ.name,
            organ.letter,
            organ.verdict.value,
            " ".join(f"{edge:.0f}" for edge in box) if area else "-",
            str(area) if area else "-",
            f"{quality:.2f}" if area else "-",
        )
        for organ, box, area, quality in zip(
            result.organs, result.boxes, result.areas_pixels(), result.quality, strict=True
        )
    ]
    table = render_table(("organ", "letter", "verdict", "box", "pixels", "quality"), rows)
    return f"{table}\n\n{result.reason} ({result.seconds * 1000:.0f} ms)"
