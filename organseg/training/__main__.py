"""Command line of training: every stage, and all of them in order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from organseg.contract.presets import PRESETS, preset_by_name
from organseg.errors import OrganSegError, TrainingOptionError
from organseg.training.command_line import add_options, read_options
from organseg.training.options import Recipe

_DESCRIPTION = """\
Train Organ-Seg: stage 0 makes the stand-in's base weights on synthetic phantoms, stage 1 is the
paper (only LoRA and the extractors learn). Every stage goes on where it was killed, when it is
started again with the same options.
"""

_EXAMPLES = """\
examples:
  python -m organseg.training all --out build/training --seed 0
      from nothing to a calibrated checkpoint in build/training/checkpoint
  python -m organseg.training segmenter --minutes 15
      one stage, with a budget of wall-clock time
  python -m organseg.training all --start export/checkpoints/tiny --segmenter-minutes 60
      longer, from the weights that come with the repository
  python -m organseg.training extractors --out build/paper --base CHECKPOINT --paper
      the plain recipe of the paper on given base weights
  python -m organseg.training calibrate
      temperature and thresholds again, without training
  python -m organseg.training average A/base B/base --out build/average
      the mean of two trainings that went on from the same weights: mostly better than both;
      stage 1 starts from it by --start build/average/checkpoint
  python -m organseg.training slices --out runs/flare22 --dataset FLARE22 --size 512
  accelerate launch -m organseg.training extractors --out runs/flare22 --preset llava-med-7b \\
      --llava-med microsoft/llava-med-v1.5-mistral-7b --medsam medsam_vit_b.pth --accept-licence \\
      --minutes 0 --steps 20000 --batch 1 --accumulate 6 --workers 4
      the paper's models on the paper's data, on one GPU or many
"""

_PARTS: dict[str, tuple[str, ...]] = {
    "slices": ("slices",),
    "segmenter": ("segmenter", "segmenter_loop", "augment"),
    "vision-tower": ("vision_tower", "vision_tower_loop", "augment"),
    "language": ("language", "language_loop"),
    "vision-language": ("vision_language", "vision_language_loop", "augment"),
    "extractors": ("extractors", "extractors_loop", "augment"),
    "calibrate": ("calibration",),
    "assess": (),
    "average": (),
}
"""The fields of `Recipe` that each stage is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one stage, or all; gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except OrganSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    # Late, so that --help answers at once.
    from organseg.training.assess import assess, write_figures
    from organseg.training.averaging import write_average
    from organseg.training.pipeline import Pipeline

    _demand_budget(options)
    preset, recipe = preset_by_name(options.preset), _recipe(options)
    if options.stage == "average":
        write_average(options.checkpoints, preset, options.out / "checkpoint")
        return
    start = getattr(options, "start", None)
    pipeline = Pipeline(options.out, preset, recipe, base=_base(options), start=start)
    if options.stage == "assess":
        write_figures(
            assess(pipeline, held_out=options.held_out, slices=options.slices), options.out
        )
        return
    stages: dict[str, Any] = {
        "slices": pipeline.write_slices,
        "segmenter": pipeline.train_segmenter,
        "vision-tower": pipeline.train_vision_tower,
        "language": pipeline.train_language,
        "vision-language": pipeline.train_vision_language,
        "extractors": pipeline.train_extractors,
        "calibrate": pipeline.calibrate,
        "all": pipeline.run_all,
    }
    stages[options.stage]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m organseg.training",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    recipe = Recipe()
    for name, parts in _PARTS.items():
        command = _stage_parser(stages, name)
        if name == "assess":
            command.add_argument(
                "--held-out",
                action="store_true",
                help="ask the held-out questions too: for the last report, never to choose by",
            )
            command.add_argument(
                "--slices", type=int, default=240, help="validation slices looked at (default 240)"
            )
        if name == "average":
            command.add_argument(
                "checkpoints",
                type=Path,
                nargs="+",
                metavar="CHECKPOINT",
                help="folder of a checkpoint; one that is named twice weighs twice",
            )
        for part in parts:
            add_options(command, getattr(recipe, part))
    every = _stage_parser(stages, "all")
    every.add_argument("--seed", type=int, default=None, help="the seed of every stage")
    for field in fields(recipe):
        add_options(every, getattr(recipe, field.name), prefix=_prefix(field.name))
    return parser


def _stage_parser(stages: Any, name: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = stages.add_parser(
        name, help=_HELP[name], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--out", type=Path, default=Path("build/training"), help="the folder of all stages"
    )
    command.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="the sizes")
    if name in ("segmenter", "vision-tower", "language", "vision-language", "extractors", "all"):
        command.add_argument(
            "--start",
            type=Path,
            metavar="DIR",
            help="checkpoint that stage 0 goes on from; what is not taught anew is taken from it",
        )
    if name in ("extractors", "all"):
        base = command.add_argument_group("what stage 1 starts from, instead of stage 0's weights")
        base.add_argument("--base", type=Path, metavar="DIR", help="another training's checkpoint")
        base.add_argument(
            "--llava-med", metavar="PATH|ID", help="LLaVA-Med v1.5 as published, or its hub id"
        )
        base.add_argument(
            "--medsam",
            metavar="PATH|ID",
            help="medsam_vit_b.pth, or MedSAM's hub id (--preset medsam)",
        )
        base.add_argument(
            "--accept-licence",
            action="store_true",
            help="agree to the licences of what is downloaded; they are shown, and asked for at a "
            "terminal without this",
        )
    return command


def _demand_budget(options: argparse.Namespace) -> None:
    """Has LLaVA-Med's own budget named: the default minutes were chosen for `tiny`."""
    prefix = _prefix("extractors_loop") if options.stage == "all" else ""
    if getattr(options, "llava_med", None) and getattr(options, f"{prefix}minutes") is None:
        default = Recipe().extractors_loop.minutes
        raise TrainingOptionError(
            f"wanted a budget for LLaVA-Med, got none: the default, {default:g} minutes, was made "
            f"for tiny. Give --{prefix}minutes 0 with --{prefix}steps N, or --{prefix}minutes N"
        )


def _base(options: argparse.Namespace) -> Any:
    """What stage 1 starts from; where originals came from is kept for the record."""
    if options.stage not in ("extractors", "all"):
        return None
    from accelerate import PartialState  # type: ignore[import-untyped]

    from organseg.networks.original_checkpoints import OriginalFiles
    from organseg.networks.sources import LLAVA_MED, MEDSAM, resolve
    from organseg.training.record import write_sources

    given = {
        part.name: (text, part)
        for text, part in ((options.llava_med, LLAVA_MED), (options.medsam, MEDSAM))
        if text
    }
    if given and options.base is not None:
        raise TrainingOptionError(
            "wanted --base alone, or --llava-med and --medsam, got both: give one or the other"
        )
    found = {
        name: resolve(text, part, accept_licence=options.accept_licence)
        for name, (text, part) in given.items()
    }
    if PartialState().is_main_process:
        write_sources(options.out, [source.to_json() for source in found.values()])
    paths = {name: source.path for name, source in found.items()}
    if not paths:
        return options.base
    return OriginalFiles(paths.get(LLAVA_MED.name), paths.get(MEDSAM.name))


_HELP = {
    "slices": "write the slice sets: phantom slices, split by patient",
    "segmenter": "stage 0: the small SAM learns masks from boxes",
    "vision-tower": "stage 0: the small LLaVA's tower learns what slices show",
    "language": "stage 0: its language model learns what questions ask for",
    "vision-language": "stage 0: both learn to work together",
    "extractors": "stage 1: the paper; writes the checkpoint",
    "calibrate": "choose temperature and thresholds, without training",
    "assess": "print the checkpoint's figures on validation data",
    "average": "write the mean of several checkpoints' weights, to go on from or to calibrate",
    "all": "every stage in order",
}


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = Recipe()
    is_all = options.stage == "all"
    parts = [field.name for field in fields(recipe)] if is_all else _PARTS[options.stage]
    for part in parts:
        prefix = _prefix(part) if is_all else ""
        told = read_options(options, getattr(recipe, part), prefix=prefix)
        if is_all and options.seed is not None and part.endswith("_loop"):
            told = replace(told, seed=options.seed)
        recipe = replace(recipe, **{part: told})
    return recipe


def _prefix(part: str) -> str:
    return part.replace("_loop", "").replace("_", "-") + "-"


if __name__ == "__main__":
    raise SystemExit(main())
