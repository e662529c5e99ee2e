"""`python -m benchmarks volume`: a volume's slices per second, one by one or many at once."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from benchmarks.served import add_server_options, serving
from benchmarks.volume import QUESTION, VolumeSpeed, time_volume
from benchmarks.volume_scans import SIDE, Storage, write_scan
from organseg_client import open_scan

_DESCRIPTION = """\
Segment one scan slice by slice in several ways, taking turns: a call a slice, and segment_volume
with one and with more slices at once. Prints slices per second and, by Triton's own statistics,
how many slices the image encoder took at once and how long a slice was in the server.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `volume`."""
    parser = commands.add_parser(
        "volume",
        help="slices per second of a whole scan",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
    parser.add_argument(
        "--scan",
        type=Path,
        metavar="PATH",
        help="a NIfTI file or DICOM folder (default: a made-up CT, .nii.gz)",
    )
    parser.add_argument(
        "--slices", type=count, default=100, metavar="N", help="of the made-up CT (default: 100)"
    )
    parser.add_argument(
        "--path-slices",
        type=count,
        default=20,
        metavar="N",
        help="how many slices are asked for by path, which opens the scan for each (default: 20)",
    )
    parser.add_argument(
        "--concurrency",
        type=count,
        nargs="+",
        default=[1, 2, 4, 8],
        metavar="N",
        help="slices under way at once in segment_volume (default: 1 2 4 8)",
    )
    parser.add_argument(
        "--turns", type=count, default=3, metavar="N", help="timings of each way (default: 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports. Raises `OrganSegError`."""
    # Before anything loads the machine, so that its load is that of the others.
    about = describe_run()
    with tempfile.TemporaryDirectory(prefix="organseg-bench-") as folder:
        path = options.scan or write_scan(Path(folder), Storage.GZIP, options.slices)
        scan = open_scan(path)
        shape = scan.geometry.shape_zhw
        scan.close()
        with serving(options.release, options.url) as server:
            speeds = time_volume(
                server.address, path, options.concurrency, options.turns, options.path_slices
            )
    record = {
        "benchmark": "volume",
        **about,
        "server": server.known,
        "scan": {
            "source": "made up" if options.scan is None else "a file",
            "shape_zhw": list(shape),
        },
        "question": QUESTION,
        "turns": options.turns,
        "ways": [asdict(speed) for speed in speeds],
    }
    print(render(record, speeds))
    if options.json:
        write_record(options.json, record)
        options.json.with_suffix(".md").write_text(render(record, speeds) + "\n", encoding="utf-8")
    return 0


def render(record: dict[str, Any], speeds: list[VolumeSpeed]) -> str:
    """The measurement as Markdown."""
    machine, scan = record["machine"], record["scan"]
    depth, height, width = scan["shape_zhw"]
    what = (
        f"a made-up CT, .nii.gz, {SIDE} x {SIDE}" if scan["source"] == "made up" else "a given scan"
    )
    lines = [
        "# A volume, slice by slice",
        "",
        f"{depth} slices of {height} x {width} ({what}), one question each, preset "
        f"`{record['server']['preset']}`; {machine['cpu']}, {machine['cores']} cores, load "
        f"{machine['load_average_1_min']} before; median time of {record['turns']} turn(s). "
        "*Batch*: slices that the image encoder took at once, by Triton's statistics; *in the "
        "server*: from a slice's arrival to its answer, waiting included.",
        "",
        "| way | slices | seconds | slices/s | batch | in the server |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {speed.way} | {speed.slices} | {speed.seconds:.1f} "
            f"| {speed.slices_per_second:.2f} | {speed.batch:.2f} | {speed.server_ms:.0f} ms |"
            for speed in speeds
        ),
    ]
    return "\n".join(lines)
