"""`python -m export`: from a checkpoint to a release that a Triton server loads."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from export.language_model_options import add_options, chosen_language_model
from export.source_options import add_source_options, read_parts
from organseg.contract import PRESETS, Explanations, ImageFeatures, Platform, preset_by_name
from organseg.contract.deployment_file import read_deployment
from organseg.errors import OrganSegError, ReleaseError

_EPILOG = """\
examples:
  python -m export --preset tiny --platform python --out build/releases/tiny
      the embedded default: graphs run in Triton's Python backend on the CPU
  python -m export --preset medsam --platform onnxruntime --precision bf16 \\
      --checkpoint runs/medsam --out DIR
      your own weights, for a GPU server with Triton's ONNX Runtime backend
  python -m export --preset medsam --platform tensorrt --precision bf16 \\
      --checkpoint runs/medsam --timing-cache timing.cache --out DIR
      engines for the GPU of this machine, built by the TensorRT that is installed here: run it in
      the image that will serve
  python -m export --preset llava-med-7b --platform tensorrt --accept-licence \\
      --llava-med microsoft/llava-med-v1.5-mistral-7b --medsam medsam_vit_b.pth \\
      --adapter runs/flare22/checkpoint/adapter --heads runs/flare22/checkpoint --out DIR
      from parts that lie apart, or on the Hugging Face hub (docs/checkpoints.md)
  python -m export --preset tiny --out build/releases/tuned --deployment deployment.json
      deployed as a sweep on this machine found best (python -m benchmarks tune)

Each step is kept by the hashes of what goes into it: an export that was stopped goes on where it
was, and a second platform or precision does only what is new. Delete the folder to begin anew.

Without --checkpoint, `tiny` is exported with the weights that come with this repository
(export/checkpoints/tiny). Other presets, and any with --untrained, get random weights (seeded):
such a release shows and times the whole flow, but its answers mean nothing, and its manifest says
so.
"""

PRECISIONS = ("fp32", "bf16", "fp16")
"""`export.precision.Precision`'s values, at hand before torch and onnx are imported."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, the user's share of it, or a file is larger than it may be."""

SHIPPED = Path(__file__).resolve().parent / "checkpoints"
"""The checkpoints that come with the repository, one folder for each preset that has one."""


def main(arguments: list[str] | None = None) -> int:
    """Exports a release; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Merge LoRA, export the graphs to ONNX, compare each with torch, and write "
        "a release: a Triton model repository with a manifest.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="the sizes")
    parser.add_argument(
        "--platform",
        choices=[platform.value for platform in Platform],
        default=Platform.PYTHON.value,
        help="what runs the graphs (default: python, the embedded server's)",
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, help="folder with trained weights")
    weights.add_argument("--untrained", action="store_true", help="random weights")
    add_source_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of random weights (default 0)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="what products work in, on a GPU (default: fp32): bf16 the matrix products of the "
        "image encoder, fp16 all matrix products and convolutions that are not sensitive. Trained "
        "weights are released so only if verdicts are those of float32 and masks agree with them",
    )
    add_options(parser)
    parser.add_argument(
        "--image-features",
        choices=[each.value for each in ImageFeatures],
        default=ImageFeatures.REUSE.value,
        help="whether what is computed of an image is kept for the next question about it "
        "(default: reuse; docs/decisions/0020-encode-once.md): direct computes it for every "
        "request, saves a step, and has no sessions",
    )
    parser.add_argument(
        "--deployment",
        type=Path,
        metavar="FILE",
        help="what the machine that will serve changes in the deployment table: instances, "
        "threads, batching and cores by stage, made by hand or by `python -m benchmarks tune` "
        "(docs/deployment-table.md)",
    )
    parser.add_argument(
        "--accept-below-bar",
        action="store_true",
        help="release although graphs or answers differ too much; the manifest says so",
    )
    parser.add_argument(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="keeps TensorRT's kernel times between builds on the same GPU",
    )
    parser.add_argument("--out", type=Path, required=True, help="the release folder to make")
    parser.add_argument("--replace", action="store_true", help="make an existing release anew")
    parser.add_argument(
        "--steps",
        type=Path,
        metavar="DIR",
        help="where each step's result is kept, so that an export that was stopped goes on and one "
        "with other options does only what they change (default: .export-steps beside OUT)",
    )
    options = parser.parse_args(arguments)
    try:
        _export(options)
    except OrganSegError as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    except (OSError, SafetensorError) as error:
        if _errno(error) not in _NO_ROOM:
            raise
        print(
            f"export: wanted room on the disk for the release, got {error}: make room and "
            "run the same command again; it goes on where it stopped, and earlier releases are "
            "as they were",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nexport: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _errno(error: OSError | SafetensorError) -> int | None:
    """The system's number for an error; safetensors has it in its words alone."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def _export(options: argparse.Namespace) -> None:
    from export.progress import Progress

    # Read first: an export takes minutes.
    deployment = read_deployment(options.deployment) if options.deployment else None
    progress = Progress()
    print(f"exporting {options.preset} for {options.platform}", file=sys.stderr)
    with progress.step("import torch and transformers"):
        from export.engines import target_here
        from export.precision import Precision
        from export.release import write_release
        from export.steps import Steps
        from organseg.networks.build import build_checkpoint
        from organseg.networks.checkpoint import load_checkpoint

    preset, platform = preset_by_name(options.preset), Platform(options.platform)
    # Asked first: an export takes minutes, and without TensorRT they would be for nothing.
    target = target_here() if platform is Platform.TENSORRT else None
    if options.timing_cache and not target:
        raise ReleaseError(
            f"wanted --timing-cache with --platform tensorrt alone, got it with {platform.value}: "
            "leave it out"
        )
    parts = read_parts(options, preset, progress)
    if parts:
        checkpoint, sources = parts.checkpoint, parts.sources
    else:
        folder, sources = _weights(options), []
        with progress.step("load weights" if folder else "make random weights"):
            checkpoint = (
                load_checkpoint(folder, preset)
                if folder
                else build_checkpoint(preset, seed=options.seed)
            )
    records = write_release(
        checkpoint,
        preset,
        platform,
        options.out,
        replace=options.replace,
        progress=progress,
        precision=Precision(options.precision),
        accept_below_bar=options.accept_below_bar,
        language_model=chosen_language_model(options, platform),
        target=target,
        timing_cache=options.timing_cache,
        steps=Steps(options.steps or options.out.parent / ".export-steps", progress),
        sources=sources,
        explanations=Explanations(options.explanations),
        image_features=ImageFeatures(options.image_features),
        deployment=deployment,
    )
    for name in dict.fromkeys(record.graph for record in records):
        worst = np.max([each.max_difference for each in records if each.graph == name])
        print(f"largest difference of {name} from torch: {worst:.1e}", file=sys.stderr)
    if not checkpoint.card.trained:
        print("the weights are untrained: masks and organs mean nothing", file=sys.stderr)
    print(options.out)


def _weights(options: argparse.Namespace) -> Path | None:
    """The checkpoint's folder; none for random weights."""
    if options.checkpoint or options.untrained:
        return options.checkpoint  # type: ignore[no-any-return]
    shipped = SHIPPED / options.preset
    return shipped if shipped.is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
