"""`python -m benchmarks tune`: the deployment table of this machine, found by a sweep."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load.options import input_spec
from benchmarks.load.window import Mix
from benchmarks.options import add_input_options, count, positive
from benchmarks.record import describe_run, write_record
from benchmarks.tuning.contest import Contest, TuneLoad
from benchmarks.tuning.journal import Journal
from benchmarks.tuning.moves import Group, groups, heavy_stages, single_stages
from benchmarks.tuning.report import step_line, tune_table
from benchmarks.tuning.search import Found, search
from benchmarks.tuning.trial import Outcome, Rule
from export.redeploy import read_configs
from organseg.contract import graph_stages, preset_by_name
from organseg.contract.deployed_config import choices_in, is_one_process, stage_configs
from organseg.contract.deployment_file import KNOBS, Deployment, stages_document
from organseg.errors import InvalidInputError
from organseg.serving.manifest import Manifest, verify_release

_LOAD, _RULE = TuneLoad(), Rule()
_DESCRIPTION = """\
Find how a release is best deployed on this machine, and write it as a deployment file for
`python -m export --deployment`. One knob is turned at a time: threads, instances, joining, queue
delays, and cores. Each change is served beside what was best before it, and both are asked by
turns (A B B A) by --users who ask again once answered. A change is kept where the median of the
pairs answers --margin percent more per second and a single user waits at most --alone-margin
percent longer. What was kept is measured once more as a whole against the release.
Nothing else should run meanwhile. A sweep that was stopped goes on with the same command.
"""
_EPILOG = """\
examples:
  python -m benchmarks tune --release build/releases/tiny --out deployment.json
      some twenty minutes on two cores; then
  python -m export --preset tiny --out build/releases/tuned --deployment deployment.json
      a release that is deployed so, without exporting a graph anew
  python -m benchmarks tune --release DIR --out deployment.json --knobs threads cores --rounds 3
      two knobs alone, each change over six pairs: for a noisy machine
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `tune`."""
    parser = commands.add_parser(
        "tune",
        help="find the deployment table of this machine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--release", type=Path, required=True, metavar="DIR", help="the release; it is not changed"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="write the deployment file here"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="the record of all that was tried, by which a stopped sweep goes on (default: beside "
        "--out, ending in .record.json)",
    )
    parser.add_argument(
        "--users",
        type=count,
        default=_LOAD.users,
        metavar="N",
        help="of each window, asking again once they are answered (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=_LOAD.seconds,
        metavar="S",
        help="length of a window, at least (default: %(default)g)",
    )
    parser.add_argument(
        "--answers",
        type=count,
        default=_LOAD.answers,
        metavar="N",
        help="answers in a window, at least: those of a slow release are longer (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=count,
        default=_LOAD.rounds,
        metavar="N",
        help="times A B B A for each change (default: %(default)s)",
    )
    parser.add_argument(
        "--mix",
        choices=[Mix.DISTINCT.value, Mix.REPEATED.value],
        default=_LOAD.mix.value,
        help="every request another image, or a few images again and again (default: %(default)s)",
    )
    parser.add_argument(
        "--knobs",
        nargs="+",
        choices=KNOBS,
        default=list(KNOBS),
        metavar="KNOB",
        help=f"those that are turned, of {', '.join(KNOBS)} (default: all)",
    )
    parser.add_argument(
        "--margin",
        type=positive,
        default=_RULE.gain_percent,
        metavar="PERCENT",
        help="what a change must gain in answers per second (default: %(default)g)",
    )
    parser.add_argument(
        "--alone-margin",
        type=positive,
        default=_RULE.alone_percent,
        metavar="PERCENT",
        help="how much longer a single user may wait (default: %(default)g)",
    )
    add_input_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sweeps, writes and reports. Raises `OrganSegError`."""
    about = describe_run()
    manifest = verify_release(options.release)
    if manifest.platform != "python":
        raise InvalidInputError(
            f"wanted a release for the embedded server (platform python), got {manifest.platform}: "
            "export one, or write the deployment file by hand (docs/deployment-table.md)"
        )
    load = TuneLoad(
        users=options.users,
        seconds=options.seconds,
        answers=options.answers,
        rounds=options.rounds,
        mix=Mix(options.mix),
        workload=input_spec(options),
    )
    rule = Rule(options.margin, options.alone_margin)
    cores = sorted(os.sched_getaffinity(0))
    configs = read_configs(options.release)
    released = choices_in(configs)
    journal = Journal(
        options.json or options.out.with_suffix(".record.json"),
        _identity(manifest, load, rule, cores),
        {"run": about, "preset": manifest.preset},
    )
    if journal.count:
        print(f"going on after {journal.count} trials", file=sys.stderr)
    with Contest(options.release, load, rule, lambda text: _say(f"  {text}")) as contest:
        found = search(
            released,
            _groups(manifest, configs, cores, options.knobs),
            journal.remembering(contest.compare),
            rule,
            tell=lambda step: _say(step_line(step)),
        )
    _write(options.out, found, manifest, about)
    journal.conclude(
        chosen=stages_document(found.choices),
        steps=[
            {"knob": step.knob, "label": step.trial.label, "outcome": step.outcome.value}
            for step in found.steps
        ],
    )
    print(tune_table(found.steps))
    if not found.choices:
        print("\nNothing gained: the deployment file changes nothing.")
    return 0


def _groups(
    manifest: Manifest, configs: dict[str, str], cores: list[int], knobs: list[str]
) -> list[Group]:
    graphs = [model.name for model in graph_stages(preset_by_name(manifest.preset))]
    messages = stage_configs(configs)
    single = single_stages([name for name in messages if is_one_process(messages[name])])
    return [
        group
        for group in groups(heavy_stages(choices_in(configs), graphs), cores, single)
        if group.knob in knobs
    ]


def _identity(manifest: Manifest, load: TuneLoad, rule: Rule, cores: list[int]) -> dict[str, Any]:
    """What must be the same for a sweep to go on; the knobs may differ."""
    files = json.dumps(dict(manifest.files), sort_keys=True).encode()
    return {
        "release": hashlib.sha256(files).hexdigest(),
        "load": {**asdict(load), "mix": load.mix.value},
        "rule": asdict(rule),
        "cores": cores,
    }


def _write(path: Path, found: Found, manifest: Manifest, about: dict[str, Any]) -> None:
    kept = [step for step in found.steps if step.outcome is Outcome.KEPT and found.choices]
    deployment = Deployment(
        found.choices,
        manifest.preset,
        manifest.platform,
        {
            "made": about["made"],
            "by": "python -m benchmarks tune",
            "machine": about["machine"],
            # The last is the whole against the release.
            "gain": round(kept[-1].trial.gain or 1.0, 3) if kept else 1.0,
            "kept": [step.trial.label for step in kept if step.knob],
        },
    )
    write_record(path, deployment.to_json())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
