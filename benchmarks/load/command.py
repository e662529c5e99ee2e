"""`python -m benchmarks load`: many users at once, closed and open loop, by locust."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.load.options import (
    add_connection_options,
    add_mix_options,
    server_view,
    target_spec,
    workload_spec,
)
from benchmarks.load.plan import LoadPlan
from benchmarks.load.report import describe_window, windows_table
from benchmarks.load.running import run_window
from benchmarks.load.sweep import (
    DEFAULT_FRACTIONS,
    DEFAULT_USERS,
    NotMeasured,
    Sweep,
    run_sweep,
)
from benchmarks.load.target import connection_options
from benchmarks.load.window import Loop, Mix, Window
from benchmarks.options import add_input_options, count, positive
from benchmarks.record import describe_run, write_record
from benchmarks.served import add_server_options, serving
from organseg.errors import InvalidInputError

_DESCRIPTION = """\
Ask a server by many users at once. First the closed loop: every user asks again once answered,
with ever more users. Then the open loop: requests are due at a rate, answered or not, and a late
one is counted from when it was due. Each for every mix: distinct images, repeated images, and
sessions. docs/benchmarks.md says how to read the table.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `load`."""
    parser = commands.add_parser(
        "load",
        help="many users at once, closed and open loop",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server_options(parser)
    parser.add_argument(
        "--mixes",
        choices=[mix.value for mix in Mix],
        nargs="+",
        default=[mix.value for mix in Mix],
        help="what the users send (default: all)",
    )
    parser.add_argument(
        "--loops",
        choices=[loop.value for loop in Loop],
        nargs="+",
        default=[loop.value for loop in Loop],
        help="what decides when (default: both)",
    )
    parser.add_argument(
        "--users",
        type=count,
        nargs="+",
        default=list(DEFAULT_USERS),
        metavar="N",
        help=f"of the closed loop (default: {' '.join(map(str, DEFAULT_USERS))})",
    )
    parser.add_argument(
        "--rates",
        type=positive,
        nargs="+",
        default=[],
        metavar="R",
        help="requests due per second in the open loop (default: "
        f"{' '.join(map(str, DEFAULT_FRACTIONS))} of the closed loop's best)",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=Sweep.seconds,
        metavar="S",
        help="length of each window (default: %(default)g)",
    )
    parser.add_argument(
        "--warm-up",
        type=count,
        default=Sweep.warm_up,
        metavar="N",
        help="requests of each user in front that are not counted (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=count,
        default=0,
        metavar="N",
        help="locust worker processes that share the users (default: none)",
    )
    add_input_options(parser)
    add_mix_options(parser)
    add_connection_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures and reports; status 1 where anything failed. Raises `OrganSegError`."""
    # Before anything loads the machine, so that its load is that of the others.
    about = describe_run()
    sweep = _sweep(options)
    windows: list[Window] = []
    failures: list[NotMeasured] = []
    connection = connection_options(target_spec(options, options.url or "", sweep.mixes[0]))
    with serving(options.release, options.url, connection) as server:
        view = server_view(options, server)
        with tqdm(total=sweep.windows, unit="window", disable=not os.isatty(2)) as bar:

            def measure(plan: LoadPlan) -> Window:
                spec = target_spec(options, server.address, plan.mix)
                return run_window(spec, plan, view, progress=_shown(bar, plan))

            for outcome in run_sweep(sweep, measure):
                bar.update()
                if isinstance(outcome, NotMeasured):
                    failures.append(outcome)
                    bar.write(f"{describe_plan(outcome.plan)}: {outcome.error}", sys.stderr)
                else:
                    windows.append(outcome)
                    bar.write(
                        f"{outcome.mix.value}, {outcome.loop.value}, {outcome.users} users: "
                        f"{describe_window(outcome)}",
                        sys.stderr,
                    )
    print(windows_table(windows))
    for failure in failures:
        print(f"\nNot measured: {describe_plan(failure.plan)}: {failure.error}")
    if options.json:
        record = load_record(about, server.known, options, windows, failures)
        write_record(options.json, record)
    return 1 if failures or any(window.failed for window in windows) else 0


def load_record(
    about: dict[str, Any],
    server: dict[str, Any],
    options: argparse.Namespace,
    windows: list[Window],
    failures: list[NotMeasured],
) -> dict[str, Any]:
    """The record of a run, as plain values for JSON."""
    return {
        "benchmark": "load",
        "run": about,
        "server": server,
        "workload": {
            "images": "the files given" if options.images else "the demo's sample slices",
            "questions": "those given" if options.questions else "the held-out questions",
            "seed": options.seed,
            "repeated_images": options.repeated_images,
            "questions_per_session": options.questions_per_session,
            "side": options.side,
            "seconds": options.seconds,
            "workers": options.workers,
        },
        "windows": [window.to_json() for window in windows],
        "not_measured": [
            {"mix": one.plan.mix.value, "loop": one.plan.loop.value, "error": one.error}
            for one in failures
        ],
    }


def describe_plan(plan: LoadPlan) -> str:
    """A few words for people who wait."""
    rate = "" if plan.rate_per_s is None else f", {plan.rate_per_s:.2f}/s due"
    return f"{plan.mix.value}, {plan.loop.value}, {plan.users} users{rate}"


def _sweep(options: argparse.Namespace) -> Sweep:
    is_closed, is_open = (loop.value in options.loops for loop in (Loop.CLOSED, Loop.OPEN))
    if not is_closed and not options.rates:
        raise InvalidInputError(
            "wanted rates for the open loop, or a closed loop whose best rate they are parts of, "
            "got neither: name them with --rates, or leave --loops out"
        )
    return Sweep(
        mixes=tuple(map(Mix, options.mixes)),
        users=tuple(options.users) if is_closed else (),
        fractions=DEFAULT_FRACTIONS if is_open else (),
        rates=tuple(options.rates) if is_open else (),
        seconds=options.seconds,
        warm_up=options.warm_up,
        workers=options.workers,
        workload=workload_spec(options),
    )


def _shown(bar: Any, plan: LoadPlan) -> Callable[[int], None]:
    bar.set_description_str(describe_plan(plan))

    def show(done: int) -> None:
        bar.set_postfix_str(f"{done} requests")

    return show
