"""`python -m benchmarks`: one subcommand per measurement."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from benchmarks import (
    all_command,
    engines_command,
    follow_up_command,
    perf_analyzer_command,
    perf_input,
    second_opinion_command,
    shared_memory_command,
    soak_command,
    stages_command,
    volume_command,
    volume_memory_command,
)
from benchmarks.gpu import command as gpu_command
from benchmarks.load import command as load_command
from benchmarks.peers import command as peers_command
from benchmarks.report import command as report_command
from benchmarks.report import scoreboard_command
from benchmarks.scaling import command as scaling_command
from benchmarks.stopping import sigterm_unwinds
from benchmarks.tuning import command as tune_command
from organseg.errors import OrganSegError

_SUBCOMMANDS: tuple[ModuleType, ...] = (
    stages_command,
    engines_command,
    perf_input,
    perf_analyzer_command,
    second_opinion_command,
    soak_command,
    gpu_command,
    load_command,
    volume_command,
    volume_memory_command,
    shared_memory_command,
    follow_up_command,
    peers_command,
    all_command,
    report_command,
    scoreboard_command,
    tune_command,
    scaling_command,
)
"""Each has `add_command(commands)`, whose parser sets `run`: arguments to exit status."""

_EPILOG = """\
examples:
  python -m benchmarks stages --release build/releases/tiny --json stages.json
      starts the server, times every stage of one request, stops the server
  python -m benchmarks engines --preset tiny --out docs/results/engines
      runs every graph in every CPU engine, by turns, and serves the preset
  python -m benchmarks perf-analyzer --url localhost:8001 --concurrency 1:4:1
      drives a running server with NVIDIA's perf_analyzer, from one user to four
  python -m benchmarks load --release build/releases/tiny --mixes distinct --json load.json
      asks by 1 to 32 users at once, then at rising rates (docs/benchmarks.md)
  python -m benchmarks all --release build/releases/tiny --out build/benchmarks/tiny
      runs every part of the load tests, then writes report.html beside the records
  python -m benchmarks second-opinion --release build/releases/tiny
      the same users by locust and by perf_analyzer, by turns
  python -m benchmarks memory-soak --release build/releases/tiny --requests 10000
      the server's memory over thousands of mixed requests
  python -m benchmarks gpu --preset llava-med-7b --out docs/results/gpu
      times everything that the GPU of this machine can do (docs/gpu.md)
  python -m benchmarks volume --url localhost:8001 --json docs/results/volume/speed.json
      slices per second of a 100-slice volume, a call a slice and several at once
  python -m benchmarks volume-memory --json docs/results/volume/memory.json
      the client's memory for scans of growing length; needs no server
  python -m benchmarks shared-memory --release build/releases/tiny
      asks about images of rising size, with and without shared memory
  python -m benchmarks follow-up --release build/releases/tiny
      a second question about an image against the first
  python -m benchmarks peers --release build/releases/tiny --tune --json peers.json
      Organ-Seg beside FastAPI, LitServe and no server at all (docs/peers.md)
  python -m benchmarks tune --release build/releases/tiny --out deployment.json
      threads, instances, batching and cores that serve this machine best (docs/deployment-table.md)
  python -m benchmarks scaling plan --stages stages.json --rate 50 --p95-ms 500
      how many servers that wants, and what limits each (docs/scaling.md)
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure an Organ-Seg server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives the exit status; a failure is one line on stderr."""
    options = build_parser().parse_args(arguments)
    try:
        with sigterm_unwinds():
            return int(options.run(options))
    except OrganSegError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
