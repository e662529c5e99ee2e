"""The options that name a checkpoint's parts where they lie apart, and what comes of them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from organseg.contract import Preset
from organseg.errors import ReleaseError

if TYPE_CHECKING:
    from export.progress import Progress
    from organseg.networks.checkpoint import Checkpoint

OWN_TOWER = "checkpoint"
"""The vision tower that LLaVA-Med's files hold themselves."""
OPENAI = "openai"
"""Short for OpenAI's tower on the hub."""


@dataclass(frozen=True)
class Parts:
    """A checkpoint that was put together, and where its parts came from."""

    checkpoint: Checkpoint
    """The weights; an adapter is not yet merged."""
    sources: list[dict[str, Any]]
    """A record of plain values for each part, as the manifest keeps it."""


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command."""
    group = parser.add_argument_group(
        "parts that lie apart, instead of --checkpoint",
        "Each is a path, or an id on the Hugging Face hub (owner/name, owner/name@revision). What "
        "is missing gets random weights, and the release counts as untrained.",
    )
    place = "PATH|ID"
    group.add_argument("--llava-med", metavar=place, help="LLaVA-Med v1.5 as published")
    group.add_argument(
        "--vision-tower",
        metavar=f"{OWN_TOWER}|{OPENAI}|{place}",
        help="the CLIP tower: LLaVA-Med's own, fine-tuned (default: checkpoint), OpenAI's, which "
        "Microsoft's code puts in its place, or another",
    )
    group.add_argument("--medsam", metavar=place, help="medsam_vit_b.pth, or its folder")
    group.add_argument("--adapter", metavar=place, help="a LoRA adapter in PEFT's format")
    group.add_argument(
        "--heads", metavar=place, help="a folder with both heads and their context cache"
    )
    group.add_argument(
        "--accept-licence",
        action="store_true",
        help="agree to the licences of what is downloaded; they are shown, and asked for at a "
        "terminal without this",
    )


def read_parts(options: argparse.Namespace, preset: Preset, progress: Progress) -> Parts | None:
    """The checkpoint that the options put together; none where they name no part.

    Raises:
        ReleaseError: the options contradict each other.
        SourceError: a part could not be had.
        CheckpointError: a part is damaged or does not fit.
    """
    given = {
        name: getattr(options, name)
        for name in ("llava_med", "vision_tower", "medsam", "adapter", "heads")
        if getattr(options, name)
    }
    if not given:
        return None
    _demand_sense(options, given)
    from organseg.networks import sources
    from organseg.networks.assembly import PartFolders, assemble
    from organseg.networks.original_checkpoints import OriginalFiles

    if given.get("vision_tower") == OPENAI:
        given["vision_tower"] = sources.OPENAI_TOWER
    if given.get("vision_tower") == OWN_TOWER:
        del given["vision_tower"]
    kinds = {
        "llava_med": sources.LLAVA_MED,
        "vision_tower": sources.VISION_TOWER,
        "medsam": sources.MEDSAM,
        "adapter": sources.ADAPTER,
        "heads": sources.HEADS,
    }
    found: dict[str, sources.Source] = {}
    for name, text in given.items():
        print(f"  reading {name} from {text}", file=sys.stderr)
        found[name] = sources.resolve(text, kinds[name], accept_licence=options.accept_licence)
    paths = {name: source.path for name, source in found.items()}
    with progress.step("load the parts"):
        checkpoint = assemble(
            OriginalFiles(paths.get("llava_med"), paths.get("medsam"), paths.get("vision_tower")),
            PartFolders(paths.get("adapter"), paths.get("heads")),
            preset,
            seed=options.seed,
        )
    records = [source.to_json() for source in found.values()]
    if "llava_med" in found and "vision_tower" not in found:
        records.append({"part": "vision_tower", "name": f"{OWN_TOWER} of llava_med"})
    return Parts(checkpoint, records)


def _demand_sense(options: argparse.Namespace, given: dict[str, str]) -> None:
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if options.checkpoint or options.untrained:
        other = "--checkpoint" if options.checkpoint else "--untrained"
        raise ReleaseError(
            f"wanted a whole checkpoint or its parts, got {other} and {flags}: leave one out"
        )
    if "llava_med" not in given and {"vision_tower", "adapter"} & set(given):
        raise ReleaseError(
            f"wanted LLaVA-Med, which a vision tower and an adapter belong to, got {flags} alone: "
            "give --llava-med, too"
        )
