"""The command `python -m organseg.evaluation`: from a model and data to a folder of results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from organseg.contract import PRESETS
from organseg.data.phantom import FIRST_TRAINING_SEED
from organseg.data.splits import Split
from organseg.errors import DatasetError, InvalidInputError, OrganSegError
from organseg.evaluation.baselines import Baseline, WithoutQuestion
from organseg.evaluation.gallery import Gallery
from organseg.evaluation.labelled_pairs import LabelCoverage
from organseg.evaluation.models import (
    EvaluatedModel,
    load_reference,
    make_untrained,
    open_server,
    serve_release,
)
from organseg.evaluation.plots import write_plots
from organseg.evaluation.provenance import describe_run, without_folders
from organseg.evaluation.questionnaire import (
    ASKED_SLICES_PER_ORGAN,
    PROPORTIONS,
    QuestionChoice,
    Questionnaire,
)
from organseg.evaluation.record import EvaluationRecord
from organseg.evaluation.report import write_record
from organseg.evaluation.runner import Evaluation, evaluate, evaluate_baseline
from organseg.evaluation.samples import make_samples, showing_organs
from organseg.evaluation.scans import Scan, ScanOptions, open_data
from organseg.evaluation.summary import summarize
from organseg.imaging.windowing import Modality
from organseg.organs import LABEL_MAPS

__all__ = ["main"]

_DESCRIPTION = """\
Ask a model questions about labelled scans, and write down how right it was: every number of the
paper (Dice by organ, confusion matrix, baselines) and those it leaves out (rejection of absent
organs and of out-of-scope questions apart, surface Dice in millimetres, calibration, intervals
by patient). docs/evaluation.md says what each number means.

Written to --out: evaluation.json, evaluation.md, confusion.png, dice.png, reliability.png, and
gallery.html, a page of overlays with the worst cases first.
"""

_EPILOG = """\
data:
  phantom:1000-1003       synthetic anatomy of these seeds, as CT; phantom:1000-1003:mr as MR-like
  flare22:DIR             a folder laid out as FLARE22 (images/, labels/); its test patients only,
                          unless --split all; other datasets so stored with their --label-map
  scan:IMAGE,LABELS       one NIfTI file, or a folder with a DICOM series, and its NIfTI label map
  shared:ts_ct            a test scan in shared/data beside the checkout (ts_ct, ts_mr, ts_dicom)

examples:
  python -m organseg.evaluation --untrained --data phantom:1000 --out /tmp/evaluation
      random weights on one phantom: a minute, and bad numbers, to see what comes out
  python -m organseg.evaluation --checkpoint runs/tiny --baselines \\
      --data shared:ts_ct --data shared:ts_mr --every-slice --out results/real
      real scans, whole volumes, beside oracle box, whole-image box and no question
  python -m organseg.evaluation --release build/releases/tiny --data phantom:1000-1003 \\
      --out results/served
      a release, on an embedded server that is started for it
  python -m organseg.evaluation --url localhost:8001 --release build/releases/tiny \\
      --data phantom:1000-1003 --out results/served
      a running server, without torch; the release says what it serves
  python -m organseg.evaluation --checkpoint runs/tiny --data flare22:/data/amos \\
      --label-map amos22 --split all --questions names --out results/amos
      another dataset, asked by name ("Segment the liver")
"""


@dataclass(frozen=True)
class _Run:
    """What one run needs once its arguments are understood."""

    scans: tuple[Scan, ...]
    """The data."""
    questionnaire: Questionnaire
    """The questions."""
    show_progress: bool
    """Whether bars are drawn."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one evaluation; gives the exit status. What goes wrong becomes one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    if not (options.checkpoint or options.untrained or options.url or options.release):
        parser.error("one of --release, --url, --checkpoint and --untrained is required")
    try:
        _evaluate(options, given)
    except OrganSegError as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _evaluate(options: argparse.Namespace, given: Sequence[str]) -> None:
    run = _Run(
        scans=open_data(options.data, _scan_options(options)),
        questionnaire=Questionnaire(
            choice=QuestionChoice(options.questions),
            slices_per_organ=None if options.every_slice else options.slices_per_organ,
            seed=options.seed,
        ),
        show_progress=not options.quiet,
    )
    # Before an hour of work, not after it.
    _make_folder(options.out)
    with ExitStack() as stack:
        model = _open_model(options, stack)
        gallery = Gallery(per_organ=options.gallery_per_organ)
        evaluation = evaluate(
            model.predictor,
            make_samples(run.scans, run.questionnaire, show_progress=run.show_progress),
            observer=gallery,
            label=model.name,
            # A few slices are no volume, even where they happen to lie side by side.
            with_volumes=run.questionnaire.slices_per_organ is None,
            show_progress=run.show_progress,
        )
        baselines = _evaluate_baselines(model, run) if options.baselines else {}
    record = summarize(
        evaluation,
        model=model.name,
        dataset=" + ".join(_short_name(name) for name in options.data),
        provenance={**describe_run(given), **model.facts, **_facts(options, model, run)},
        baselines=baselines,
        notices=_notices(model, run),
        temperature=model.temperature,
        resamples=options.resamples,
        seed=options.seed,
    )
    paths = (
        *write_record(record, options.out),
        *write_plots(record, options.out),
        gallery.write(
            options.out / "gallery.html", f"{record.model} on {record.dataset}: worst cases first"
        ),
    )
    _print_outcome(record, paths)


def _open_model(options: argparse.Namespace, stack: ExitStack) -> EvaluatedModel:
    if options.release is not None and (options.checkpoint or options.untrained):
        raise InvalidInputError(
            "wanted --release alone or beside --url, got it with weights in torch: choose one"
        )
    if options.release is not None and options.url is None:
        return stack.enter_context(serve_release(options.release))
    if options.url is not None:
        return stack.enter_context(open_server(options.url, options.release))
    if options.untrained:
        return make_untrained(options.preset, options.seed)
    return load_reference(options.checkpoint, options.preset)


def _evaluate_baselines(model: EvaluatedModel, run: _Run) -> dict[str, Evaluation]:
    """The rows beside the method, on the questions whose organs are in the image."""
    rows: dict[str, Evaluation] = {}
    if model.segmenter is not None:
        for baseline in Baseline:
            rows[baseline.value] = evaluate_baseline(
                model.segmenter,
                baseline,
                showing_organs(make_samples(run.scans, run.questionnaire)),
                with_volumes=False,
                show_progress=run.show_progress,
            )
    rows["no question"] = evaluate(
        WithoutQuestion(model.predictor),
        showing_organs(make_samples(run.scans, run.questionnaire)),
        label="no question",
        with_volumes=False,
        show_progress=run.show_progress,
    )
    return rows


def _scan_options(options: argparse.Namespace) -> ScanOptions:
    return ScanOptions(
        label_map=options.label_map,
        modality=None if options.modality is None else Modality(options.modality.upper()),
        coverage=LabelCoverage(options.labelled),
        split=None if options.split == "all" else Split(options.split),
        phantom_slices=options.phantom_slices,
        phantom_size=options.phantom_size,
    )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"wanted a folder to write to, got {str(out)!r}, which cannot be one "
            f"({error.strerror}): name another with --out"
        ) from error


def _notices(model: EvaluatedModel, run: _Run) -> tuple[str, ...]:
    notices = [*model.notices]
    if run.questionnaire.choice is QuestionChoice.TRAIN:
        notices.append("The questions are training questions: a model may have seen them.")
    if any(scan.may_be_trained_on for scan in run.scans):
        notices.append(
            f"Phantoms from seed {FIRST_TRAINING_SEED} on belong to training: a model may have "
            "seen them."
        )
    return tuple(notices)


def _facts(options: argparse.Namespace, model: EvaluatedModel, run: _Run) -> dict[str, str]:
    if run.questionnaire.slices_per_organ is None:
        asked = "every labelled organ in every slice, one for several and one out of scope a slice"
    else:
        asked = (
            f"slices per organ and patient: {run.questionnaire.slices_per_organ}; "
            f"{PROPORTIONS.segmented:.0%} present, {PROPORTIONS.absent_in_image:.0%} absent, "
            f"{PROPORTIONS.out_of_scope:.0%} out of scope; of those for organs "
            f"{PROPORTIONS.several:.0%} for several; volume scores need --every-slice"
        )
    facts = {
        "data": ", ".join(without_folders(name) for name in options.data),
        "question set": run.questionnaire.choice.value,
        "asked": asked,
        "seed": str(options.seed),
        "bootstrap": f"{options.resamples} resamples of patients",
        "softmax temperature of refusal": f"{model.temperature:g}",
    }
    if options.baselines and model.segmenter is None:
        facts["baselines"] = "a server takes no boxes: the box rows need --checkpoint"
    return facts


def _short_name(name: str) -> str:
    """The data's name without the folders before it, for titles."""
    kind, _, rest = name.partition(":")
    if kind in ("flare22", "scan"):
        return f"{kind}:{Path(rest.partition(',')[0]).name}"
    return name


def _print_outcome(record: EvaluationRecord, paths: Sequence[Path]) -> None:
    for notice in record.notices:
        print(notice)
    for name, interval in (
        ("mean Dice, organ present", record.mean.dice_present),
        ("organ choice", record.answers.organ_choice),
        ("out of scope, N-acc", record.rejection.scope_n_acc),
        ("absent in image, N-acc", record.rejection.absence_n_acc),
    ):
        value = "not scored" if interval.value is None else f"{100 * interval.value:.1f} %"
        print(f"{name}: {value} of {interval.count}")
    print("\n".join(f"wrote {path}" for path in paths))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m organseg.evaluation",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what answers (one of four)")
    model = what.add_mutually_exclusive_group()
    model.add_argument("--checkpoint", type=Path, metavar="DIR", help="trained weights, in torch")
    model.add_argument("--untrained", action="store_true", help="random weights, in torch")
    model.add_argument("--url", metavar="HOST:PORT", help="a running server's gRPC address")
    what.add_argument("--preset", choices=PRESETS, default="tiny", help="sizes of the torch model")
    what.add_argument(
        "--release", type=Path, metavar="DIR", help="a release to serve; with --url, what it serves"
    )
    what.add_argument("--baselines", action="store_true", help="the paper's Table II rows too")

    data = parser.add_argument_group("on what")
    data.add_argument("--data", action="append", required=True, help="see below; may be repeated")
    data.add_argument(
        "--label-map",
        choices=sorted(LABEL_MAPS),
        default="flare22",
        help="whose label values the files hold (default %(default)s); totalsegmentator_v2 wants "
        "files of version 2: version 1 numbers its organs otherwise and would be misread",
    )
    data.add_argument(
        "--labelled",
        choices=[item.value for item in LabelCoverage],
        default=LabelCoverage.ALL.value,
        help="trust the labels for all organs of the map, or only for those found in the file",
    )
    data.add_argument(
        "--modality",
        choices=["ct", "mr"],
        help="of files that do not say (default: by label map; a lone scan is guessed)",
    )
    data.add_argument(
        "--split",
        choices=[*(split.value for split in Split), "all"],
        default=Split.TEST.value,
        help="patients of a dataset folder (default %(default)s)",
    )
    data.add_argument("--phantom-slices", type=_positive, default=46, metavar="N")
    data.add_argument("--phantom-size", type=_positive, default=256, metavar="PIXELS")

    asked = parser.add_argument_group("asked what")
    asked.add_argument(
        "--questions",
        choices=[choice.value for choice in QuestionChoice],
        default=QuestionChoice.HELD_OUT.value,
        help='"names" is "Segment the liver" (default %(default)s)',
    )
    slices = asked.add_mutually_exclusive_group()
    slices.add_argument(
        "--slices-per-organ",
        type=_positive,
        default=ASKED_SLICES_PER_ORGAN,
        metavar="N",
        help="slices that show an organ, per organ and patient (default %(default)s: about 100 "
        "questions a patient, absent and out-of-scope ones included)",
    )
    slices.add_argument(
        "--every-slice",
        action="store_true",
        help="whole volumes: each organ in each slice, as volume Dice and surface Dice need",
    )
    asked.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")

    output = parser.add_argument_group("results")
    output.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to fill")
    output.add_argument("--resamples", type=_positive, default=2000, metavar="N", help="bootstrap")
    output.add_argument(
        "--gallery-per-organ",
        type=_positive,
        default=6,
        metavar="N",
        help="worst cases kept of each organ (default %(default)s)",
    )
    output.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1, got {text!r}")
    return number
