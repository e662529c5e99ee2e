"""One checkpoint from several of the same size: the mean of their weights.

Trainings that went on from the same weights end near one another, and what each learned by chance
cancels out in their mean, at no cost in serving (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from organseg.contract.presets import Preset
from organseg.errors import CheckpointError
from organseg.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.training.record import RECORD_FILE


def write_average(folders: Sequence[Path], preset: Preset, out: Path) -> None:
    """Writes the mean of checkpoints, adapters merged; the first one's record tells of it.

    Calibrate it before it answers: the thresholds are those of the first.

    Args:
        folders: the checkpoints; one that is named twice weighs twice.
        preset: the sizes of all of them.
        out: the checkpoint folder to write; its weights are float16.

    Raises:
        CheckpointError: fewer than two, or checkpoints of another preset or text encoder.
    """
    if len(folders) < 2:
        raise CheckpointError(
            f"wanted two checkpoints or more to average, got {len(folders)}: name them one after "
            "the other"
        )
    # Each is read once, however often it is named.
    loaded = {folder: load_checkpoint(folder, preset) for folder in dict.fromkeys(folders)}
    average = averaged([loaded[folder] for folder in folders])
    record: dict[str, Any] = {"preset": preset.name}
    if (folders[0] / RECORD_FILE).is_file():
        record = json.loads((folders[0] / RECORD_FILE).read_text(encoding="utf-8"))
    record |= {"average_of": [str(folder) for folder in folders]}
    save_checkpoint(average, out, dtype=torch.float16)
    (out / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def averaged(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The mean of the weights, in the first checkpoint's parts.

    Raises:
        CheckpointError: their heads were trained with different text encoders.
    """
    first = checkpoints[0]
    encoders = {each.card.text_encoder_sha256 for each in checkpoints}
    if len(encoders) > 1:
        raise CheckpointError(
            f"wanted checkpoints of one text encoder, got {len(encoders)} "
            f"({', '.join(sorted(encoder[:8] for encoder in encoders))}): leave the others out"
        )
    for each in checkpoints:
        merge_adapter(each.organ_seg.vision_language)
    states = [each.organ_seg.state_dict() for each in checkpoints]
    first.organ_seg.load_state_dict(
        {name: _mean([state[name] for state in states]) for name in states[0]}
    )
    card = replace(
        first.card,
        description=f"mean of {len(checkpoints)} checkpoints; the first: {first.card.description}",
        talks=all(each.card.talks for each in checkpoints),
    )
    return replace(first, card=card)


def _mean(weights: Sequence[Tensor]) -> Tensor:
    """Of whole numbers, which count batches, the first."""
    if not weights[0].is_floating_point():
        return weights[0]
    return torch.stack(list(weights)).mean(dim=0)
