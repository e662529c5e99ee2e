"""`python -m benchmarks gpu`: everything that a machine with a GPU can do, beside its floors."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.options import count
from benchmarks.record import describe_run, write_record
from organseg.contract import PRESETS, preset_by_name

_DESCRIPTION = """\
Make random models of a preset on the GPU and time them: every graph stage in every engine that is
installed, the language model's prefill and follow-up questions, whole requests in process and,
with --release, through the embedded server. Every time is put beside its floor: operations over
the chip's rate, bytes over its bandwidth. What cannot run here is left out, with the reason.
Writes OUT/PRESET.json, the record, and OUT/PRESET.md, rendered from it.
"""
_DEVICES = ("cuda", "cpu")
_PARTS = ("stages", "language", "requests", "server")
_PRECISIONS = ("fp32", "bf16", "fp16")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `gpu`; torch is imported when it runs."""
    parser = commands.add_parser(
        "gpu",
        help="stages, language model and requests on a GPU, each beside its floor",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, required=True, help="the sizes")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of record and report"
    )
    parser.add_argument(
        "--device",
        choices=_DEVICES,
        default="cuda",
        help="cpu walks the same way without a GPU, for a look at toy width (default: cuda)",
    )
    parser.add_argument(
        "--precision",
        choices=_PRECISIONS,
        help="of the graphs, as of a release (default: bf16, fp16 where the GPU has no bf16, fp32 "
        "on a CPU)",
    )
    parser.add_argument(
        "--batches",
        type=count,
        nargs="+",
        default=[1, 4, 8],
        metavar="N",
        help="batch sizes of the stages (default: 1 4 8)",
    )
    parser.add_argument(
        "--rounds", type=count, default=50, metavar="N", help="timed calls each (default: 50)"
    )
    parser.add_argument(
        "--warm-up",
        type=count,
        default=5,
        metavar="N",
        help="calls in front that are not counted (default: 5)",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="what to measure (all)"
    )
    parser.add_argument(
        "--engines", nargs="+", metavar="NAME", help="which engines run the graph stages (all)"
    )
    parser.add_argument(
        "--release",
        type=Path,
        metavar="DIR",
        help="a release for the platform python, for the part server",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, writes and prints the report; status 1 where nothing at all was measured.

    Raises `OrganSegError` where the device is not there, does not hold the preset, or the record
    cannot be written.
    """
    about = describe_run()
    from benchmarks.gpu.device import device_named
    from benchmarks.gpu.measure import Bench
    from benchmarks.gpu.options import Part, Plan, engines_named
    from benchmarks.gpu.report import render
    from benchmarks.gpu.timing import Rounds
    from export.precision import Precision
    from export.progress import Progress

    device = device_named(options.device)
    plan = Plan(
        preset=preset_by_name(options.preset),
        precision=Precision(options.precision) if options.precision else None,
        batches=tuple(options.batches),
        rounds=Rounds(options.warm_up, options.rounds),
        parts=tuple(Part(name) for name in options.parts),
        engines=engines_named(options.engines, options.device),
        release=options.release,
    )
    record = {"benchmark": "gpu", **about, **Bench(plan, device, Progress()).run()}
    write_record(options.out / f"{options.preset}.json", record)
    report = render(record)
    (options.out / f"{options.preset}.md").write_text(report, encoding="utf-8")
    print(report)
    return 0 if record["stages"] else 1
