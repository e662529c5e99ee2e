"""Command line of the phantom: contact sheet, sample slices, speed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from organseg.data.phantom.samples import write_samples
from organseg.data.phantom.sheet import write_sheet
from organseg.data.phantom.speed import measure_speed

_DESCRIPTION = """\
Synthetic anatomy: a 3-D phantom of the 13 abdominal organs and their surroundings, painted
from a seed and rendered as CT, MR-like or random intensities. The same seed always gives the
same patient. Images show the patient's right on the left side, as radiologists read them.
"""

_EXAMPLES = """\
examples:
  python -m organseg.data.phantom sheet --out sheet.png --seed 0
      patients by rows, levels from chest to pelvis by columns: look before you train
  python -m organseg.data.phantom samples --out demo/samples
      six small slices with label images (grey value = organ id) and samples.json
  python -m organseg.data.phantom speed --processes 2
      generated and rendered slices per second on this machine (set OMP_NUM_THREADS=1)

from Python:
  from organseg.data.phantom import Modality, generate, render
  phantom = generate(7)                         # tissues [slice, row, column], slice 0 = feet
  labels = phantom.organ_labels                 # FLARE22 ids 1-13, 0 = background
  image = render(phantom, Modality.CT, seed=0)  # float32 HU
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m organseg.data.phantom",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("sheet", help="draw the contact sheet")
    sheet.add_argument("--out", type=Path, required=True, help="the PNG to write")
    sheet.add_argument("--seed", type=int, default=0, help="the first patient (default 0)")
    sheet.add_argument(
        "--tile", type=int, default=224, help="side of one slice on it, pixels (default 224)"
    )
    samples = commands.add_parser("samples", help="write sample slices with their labels")
    samples.add_argument("--out", type=Path, required=True, help="the folder to write to")
    speed = commands.add_parser("speed", help="measure slices per second")
    speed.add_argument("--processes", type=int, default=2, help="worker processes (default 2)")
    speed.add_argument("--volumes", type=int, default=16, help="volumes in all (default 16)")
    speed.add_argument("--slices", type=int, default=46, help="slices a volume (default 46)")
    speed.add_argument("--size", type=int, default=256, help="rows and columns (default 256)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "sheet":
        write_sheet(options.out, options.seed, options.tile)
        print(f"wrote {options.out}")
    elif options.command == "samples":
        paths = write_samples(options.out)
        size_kb = sum(path.stat().st_size for path in paths) / 1000
        print(f"wrote {len(paths)} files, {size_kb:.0f} kB, to {options.out}")
    else:
        record = measure_speed(options.processes, options.volumes, options.slices, options.size)
        print(
            f"{record.slices_per_second:.1f} slices/s: {record.slices} slices of {options.size} x "
            f"{options.size} in {record.seconds:.1f} s, {record.processes} processes; "
            f"{record.slices / record.cpu_seconds:.1f} slices per CPU second"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
