"""`python -m benchmarks scaling`: how many servers a rate wants, on paper and as measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.options import count, positive
from benchmarks.record import describe_run, read_record, write_record

_DESCRIPTION = """\
A queueing model of the flow, fed by measured stage times (docs/scaling.md). `check` measures a
release on this machine and holds the model against it; `plan` says how many servers a rate wants;
`page` renders both records into docs/scaling.md.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `scaling` with `plan`, `check` and `page`."""
    parser = commands.add_parser(
        "scaling",
        help="how many servers and GPUs a rate wants, by a queueing model",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_plan(actions)
    _add_check(actions)
    page = actions.add_parser("page", help="render the records into docs/scaling.md")
    page.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    page.set_defaults(run=_page)


def _add_plan(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("plan", help="how many servers keep a p95 at a rate")
    parser.add_argument(
        "--stages",
        type=Path,
        required=True,
        metavar="FILE",
        help="record of `stages --json`, or of `scaling check --json`, which knows batches too",
    )
    parser.add_argument(
        "--rate", type=positive, required=True, metavar="N", help="requests per second"
    )
    parser.add_argument(
        "--p95-ms", type=positive, required=True, metavar="MS", help="what 95 of 100 keep within"
    )
    parser.add_argument(
        "--reuse-hit",
        type=_share,
        default=0.0,
        metavar="H",
        help="share of questions about an image that was sent before (default: 0)",
    )
    parser.add_argument(
        "--think-s",
        type=positive,
        default=5.0,
        metavar="S",
        help="from an answer to the user's next question, the mean (default: 5)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--sticky",
        action="store_true",
        help="follow-ups go to the server that has the image (the default)",
    )
    where.add_argument("--any", action="store_true", help="follow-ups go to any server")
    parser.add_argument(
        "--cores",
        type=positive,
        metavar="N",
        help="cores of the machine that a server has (default: those of the record's)",
    )
    parser.add_argument(
        "--follow-up-share",
        type=_share,
        metavar="F",
        help="the language model's work for a follow-up (default: measured, else assumed 0.35)",
    )
    gpu = parser.add_mutually_exclusive_group()
    gpu.add_argument(
        "--gpu",
        type=Path,
        metavar="FILE",
        help="record of `make bench-gpu` (docs/results/gpu/PRESET.json): its stages are on a GPU",
    )
    gpu.add_argument(
        "--gpu-targets",
        metavar="PRESET",
        help="without a measurement: what the project aims at on one H200, which is an assumption",
    )
    parser.add_argument(
        "--gpus", type=count, default=1, metavar="N", help="GPUs of a machine (default: 1)"
    )
    parser.add_argument(
        "--requests",
        type=count,
        default=3000,
        metavar="N",
        help="requests that are played for each number of servers (default: 3000)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=_plan)


def _add_check(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("check", help="hold the model against servers of this machine")
    parser.add_argument("--release", type=Path, required=True, metavar="DIR", help="what is served")
    parser.add_argument(
        "--users", type=count, nargs="+", default=[1, 2, 4, 8], metavar="N", help="users at once"
    )
    parser.add_argument(
        "--servers", type=count, nargs="+", default=[1, 2], metavar="N", help="servers at once"
    )
    parser.add_argument(
        "--seconds", type=positive, default=20.0, metavar="S", help="length of a window"
    )
    parser.add_argument("--turns", type=count, default=3, metavar="N", help="windows of each case")
    parser.add_argument(
        "--requests", type=count, default=50, metavar="N", help="requests that time the stages"
    )
    parser.add_argument(
        "--rounds", type=count, default=5, metavar="N", help="calls of each stage and batch size"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    parser.set_defaults(run=_check)


def _plan(options: argparse.Namespace) -> int:
    # Only here and below: they bring torch, numpy's random numbers, and the server.
    from benchmarks.scaling import costs, planning, tables
    from benchmarks.scaling.checking import flow_of_check
    from benchmarks.scaling.flow import Pool
    from benchmarks.scaling.load_model import Stickiness

    record = read_record(options.stages)
    share = options.follow_up_share
    if "stages_record" in record:
        flow = flow_of_check(record, follow_up_share=share)
    else:
        flow = costs.flow_of(record, follow_up_share=share)
    source = f"measured on {record['machine']['cpu']}, preset {record['server']['preset']}"
    if options.gpu is not None:
        gpu = read_record(options.gpu)
        flow = costs.on_gpu(flow, gpu.get("stages", ()))
        source = f"{source}; GPU stages measured by `make bench-gpu`, preset {gpu.get('preset')}"
    elif options.gpu_targets is not None:
        flow = costs.on_gpu(flow, costs.gpu_targets(options.gpu_targets))
        source = f"{source}; **GPU stages assumed**, the aims for {options.gpu_targets} on an H200"
    question = planning.Question(
        rate_per_s=options.rate,
        p95_ms=options.p95_ms,
        hit_rate=options.reuse_hit,
        think_ms=options.think_s * 1e3,
        stickiness=Stickiness.ANY if options.any else Stickiness.STICKY,
        cores=options.cores or float(record["machine"]["cores"]),
        gpus=float(options.gpus if any(s.pool is Pool.GPU for s in flow.stages) else 0),
    )
    found = {
        "benchmark": "scaling plan",
        "source": source,
        "command": _command(),
        **planning.plan(flow, question, requests=options.requests),
    }
    print(tables.plan_text(found))
    if options.json:
        write_record(options.json, found)
    return 0


def _check(options: argparse.Namespace) -> int:
    from benchmarks.scaling import tables
    from benchmarks.scaling.checking import CheckPlan, measure

    plan = CheckPlan(
        tuple(options.servers),
        tuple(options.users),
        options.seconds,
        options.turns,
        options.requests,
        options.rounds,
    )
    record = {**measure(options.release, plan, describe_run()), "command": _command()}
    print(tables.check_text(record))
    if options.json:
        write_record(options.json, record)
    return int(any(row["errors"] for row in record["check"]))


def _page(options: argparse.Namespace) -> int:
    from benchmarks.scaling.page import main

    return main(check=options.check)


def _command() -> str:
    """What was typed, folders left out: they are this machine's."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return " ".join(("python -m benchmarks", *words))


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"wanted a share from 0 to below 1, got {text!r}")
    return value
