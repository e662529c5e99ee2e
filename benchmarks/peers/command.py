"""`python -m benchmarks peers`: Organ-Seg beside what people would use instead, in turns."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.options import add_input_options, count, positive
from benchmarks.peers.settings import Peer, default_settings, grid
from benchmarks.record import describe_run, write_record
from organseg.contract import PRESETS
from organseg.errors import ReleaseError

if TYPE_CHECKING:
    from benchmarks.load.plan import WorkloadSpec
    from benchmarks.peers.comparison import Item, Length, Measured, Trial
    from benchmarks.peers.contenders import Field
    from benchmarks.peers.goals import Goal

_DESCRIPTION = """\
Serve one release by Organ-Seg and by its peers on this machine, and measure each in turns, another
one first in every turn; who is not measured is stopped. Prints medians and whether the goals are
reached, as Markdown. docs/peers.md says what the peers are.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `peers`."""
    parser = commands.add_parser(
        "peers",
        help="Organ-Seg beside FastAPI, LitServe and no server at all",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--release", type=Path, required=True, metavar="DIR", help="a release for the CPU"
    )
    parser.add_argument("--preset", choices=PRESETS, help="the preset that the release must be of")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="the weights that the release was exported from (default: those of this repository, "
        "else the random ones of seed 0)",
    )
    parser.add_argument(
        "--only",
        choices=[peer.value for peer in Peer],
        nargs="+",
        default=[peer.value for peer in Peer],
        help="the peers (default: all)",
    )
    parser.add_argument(
        "--turns",
        type=count,
        default=5,
        metavar="N",
        help="how often each is measured, one after another (default: 5)",
    )
    parser.add_argument(
        "--users", type=count, default=8, metavar="N", help="users at once (default: 8)"
    )
    parser.add_argument(
        "--seconds", type=positive, default=8.0, metavar="S", help="length of a window (default: 8)"
    )
    parser.add_argument(
        "--requests",
        type=count,
        metavar="N",
        help="length of a window in requests instead, for models that take seconds an image",
    )
    parser.add_argument(
        "--tune", action="store_true", help="try each peer's settings first and take the best"
    )
    parser.add_argument(
        "--throughput-only",
        action="store_true",
        help="leave out what is asked of Organ-Seg alone: one user, the critical path, a session, "
        "a crowd; of a model that takes seconds an image they are most of the time",
    )
    add_input_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where a request failed. Raises `OrganSegError`."""
    # Here: other commands do without torch.
    from benchmarks.load.options import input_spec
    from benchmarks.peers.comparison import Length, best, compare
    from benchmarks.peers.contenders import open_field
    from benchmarks.peers.goals import goals_of
    from benchmarks.peers.report import comparison_record, comparison_tables
    from organseg.serving.manifest import verify_release

    about = describe_run()
    manifest = verify_release(options.release)
    if options.preset not in (None, manifest.preset):
        raise ReleaseError(
            f"wanted a release of the preset {options.preset}, got one of {manifest.preset}: "
            "name another with --release"
        )
    checkpoint = options.checkpoint or _shipped(manifest.preset)
    peers = [Peer(name) for name in options.only]
    cores = len(os.sched_getaffinity(0))
    length = Length(None if options.requests else options.seconds, options.requests)
    workload = input_spec(options)
    trials = _tune(options, checkpoint, peers, cores, length, workload) if options.tune else []
    settings = {
        peer: best(trials, peer) if trials else default_settings(peer, cores) for peer in peers
    }
    known: dict[str, Any] = {
        "benchmark": "peers",
        "run": about,
        "preset": manifest.preset,
        "release": {"created": manifest.created, "trained": manifest.trained},
        "turns": options.turns,
        "users": options.users,
        "cores": cores,
        "length": asdict(length),
    }

    def goals(measured: Measured) -> list[Goal]:
        paths = measured.turn_paths
        return goals_of(manifest.preset, measured.windows, paths, users=options.users)

    def keep(measured: Measured) -> None:
        if options.json:
            record = comparison_record(measured, goals(measured), settings, trials, known)
            write_record(options.json, record)

    print("Starting Organ-Seg and its peers …", file=sys.stderr, flush=True)
    with open_field(options.release, checkpoint, settings) as field:
        items = _announced(field, options, length, workload)
        with _bar(len(items) * options.turns) as told:
            measured = compare(
                field, items, options.users, options.turns, length, workload, told, keep
            )
    by_clock = options.requests is None
    print(comparison_tables(measured, goals(measured), settings, options.users, by_clock=by_clock))
    return 1 if any(window.failed for window in measured.windows) else 0


def _tune(
    options: argparse.Namespace,
    checkpoint: Path | None,
    peers: list[Peer],
    cores: int,
    length: Length,
    workload: WorkloadSpec,
) -> list[Trial]:
    from benchmarks.peers.comparison import tune

    tries = sum(len(grid(peer, cores)) for peer in peers)
    print(f"Tuning: {tries} settings, each in a window of its own.", file=sys.stderr)
    with _bar(tries) as told:
        return tune(
            options.release, checkpoint, peers, cores, options.users, length, workload, told
        )


def _announced(
    field: Field, options: argparse.Namespace, length: Length, workload: WorkloadSpec
) -> tuple[Item, ...]:
    """The items of a turn, once it was said how long all turns are likely to take."""
    from benchmarks.peers.comparison import estimate_s, items_of

    items = items_of(field, options.users, throughput_only=options.throughput_only)
    total_min = estimate_s(field, items, options.users, length, workload) * options.turns / 60
    print(
        f"{options.turns} turns of {len(items)} windows: about {total_min:.0f} minutes.",
        file=sys.stderr,
        flush=True,
    )
    return items


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    """A bar that moves when the next thing begins; at no terminal, a line for each."""
    with tqdm(total=total, unit="window", disable=not os.isatty(2)) as bar:
        begun = [False]

        def told(what: str) -> None:
            if begun[0]:
                bar.update()
            begun[0] = True
            bar.set_description(what)
            if bar.disable:
                print(what, file=sys.stderr, flush=True)

        yield told
        bar.update()


def _shipped(preset: str) -> Path | None:
    from export.__main__ import SHIPPED

    folder = SHIPPED / preset
    return folder if folder.is_dir() else None
