"""`python -m benchmarks memory-soak`: the server's memory over thousands of mixed requests."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.load.observation import memory_mib, read_kept
from benchmarks.load.options import input_spec
from benchmarks.load.target import Target, TargetKind, TargetSpec, build_target
from benchmarks.options import add_input_options, count
from benchmarks.record import describe_run, write_record
from benchmarks.served import Served, add_release_option, serving
from benchmarks.soak import GOAL, MemorySample, Soak, SoakOutcome, outcome_of
from organseg.errors import NotServedError, ServerFaultError

_DESCRIPTION = f"""\
Serve a release, send it thousands of mixed requests (distinct and repeated images, sessions,
several sizes, and some that must be refused), and compare the memory of all its processes at the
end with what it was when its caches were full. The goal is a ratio of at most {GOAL:g}.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `memory-soak`."""
    parser = commands.add_parser(
        "memory-soak",
        help="the server's memory over thousands of mixed requests",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_release_option(parser)
    parser.add_argument(
        "--requests",
        type=count,
        default=10_000,
        metavar="N",
        help="requests in all (default: %(default)s)",
    )
    parser.add_argument(
        "--users", type=count, default=4, metavar="N", help="users at once (default: %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=count,
        default=100,
        metavar="N",
        help="requests between two looks at the memory (default: %(default)s)",
    )
    parser.add_argument(
        "--settle",
        type=count,
        default=1000,
        metavar="N",
        help="requests before the caches are looked at; of a release that keeps nothing, all that "
        "are waited for (default: %(default)s)",
    )
    add_input_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 above the goal or with errors. Raises `OrganSegError`."""
    about = describe_run()
    spec = input_spec(options)
    with serving(options.release, None) as server:
        soak = Soak(spec, lambda: _targets(server.address), options.users)
        try:
            samples = _soak(soak, server, options)
        finally:
            soak.close()
    outcome = outcome_of(samples, options.settle)
    print(render(outcome, soak, options.requests))
    if options.json:
        record = {
            "benchmark": "memory-soak",
            "run": about,
            "server": server.known,
            "requests": options.requests,
            "users": options.users,
            "asked": dict(soak.asked),
            "errors": dict(soak.errors),
            "full": asdict(outcome.full) if outcome else None,
            "end": asdict(outcome.end) if outcome else None,
            "ratio": outcome.ratio if outcome else None,
            "goal": GOAL,
            "samples": [asdict(sample) for sample in samples],
        }
        write_record(options.json, record)
    return 0 if outcome and outcome.ratio <= GOAL and not soak.errors else 1


def render(outcome: SoakOutcome | None, soak: Soak, requests: int) -> str:
    """The measurement as Markdown."""
    asked = ", ".join(f"{count} {kind}" for kind, count in sorted(soak.asked.items()))
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(soak.errors.items())) or "none"
    lines = [f"{requests} requests ({asked}); errors: {errors}.", ""]
    if outcome is None:
        lines.append(
            "The caches were not full soon enough to see what comes afterwards: ask more "
            "(--requests), settle earlier (--settle), or look more often (--every)."
        )
        return "\n".join(lines)
    verdict = "within" if outcome.ratio <= GOAL else "above"
    return "\n".join(
        [
            *lines,
            "| | after requests | memory, MiB | kept, MiB | evictions |",
            "|---|--:|--:|--:|--:|",
            _row("caches full", outcome.full),
            _row("end", outcome.end),
            "",
            f"Ratio {outcome.ratio:.3f}, {verdict} the goal of {GOAL:g}.",
        ]
    )


def _soak(soak: Soak, server: Served, options: argparse.Namespace) -> list[MemorySample]:
    samples: list[MemorySample] = []
    with tqdm(total=options.requests, unit="request", disable=not os.isatty(2)) as bar:
        while (done := samples[-1].requests if samples else 0) < options.requests:
            block = min(options.every, options.requests - done)
            soak.ask(block)
            bar.update(block)
            samples.append(_look(server, done + block))
            bar.set_postfix_str(f"{samples[-1].memory_mib:.0f} MiB")
            if bar.disable:
                print(
                    f"{samples[-1].requests} requests, {samples[-1].memory_mib:.0f} MiB",
                    file=sys.stderr,
                    flush=True,
                )
    return samples


def _look(server: Served, requests: int) -> MemorySample:
    if server.session is None:
        raise ServerFaultError(
            "wanted the processes of a server on this machine, got an address: name a --release"
        )
    return MemorySample(requests, memory_mib(server.session), read_kept(server.metrics_url))


def _targets(address: str) -> tuple[Target, Target | None]:
    whole = build_target(TargetSpec(TargetKind.ORGAN_SEG, address))
    try:
        return whole, build_target(TargetSpec(TargetKind.ORGAN_SEG_SESSION, address))
    except NotServedError:
        # An older client: the record's counts say that no session was asked.
        return whole, None


def _row(what: str, sample: MemorySample) -> str:
    kept = (sample.kept or {}).values()
    return (
        f"| {what} | {sample.requests} | {sample.memory_mib:.0f} "
        f"| {sum(one.bytes for one in kept) / 2**20:.0f} | {sum(one.evictions for one in kept)} |"
    )
