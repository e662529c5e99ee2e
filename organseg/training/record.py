"""How a checkpoint was made: a record and the logs, put beside its weights."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from organseg.data.splits import Split
from organseg.training.slices import slices_card
from organseg.training.state import STATE_FILE

RECORD_FILE = "training.json"
SOURCES_FILE = "sources.json"
"""Beside the stages: where the originals came from that stage 1 started with."""
LOG_FOLDER = "log"
_STAGES = ("segmenter", "vision-tower", "language", "vision-language", "extractors")
_LOGS = ("train.csv", "validation.csv")
_STEPS_KEPT = 5
"""Of how many steps one is kept in the checkpoint's copy of a log."""


def write_sources(out: Path, sources: list[dict[str, Any]]) -> None:
    """Keeps where the originals came from, for the record of the checkpoint made from them.

    None of them: takes away what an earlier run from originals kept.
    """
    if not sources:
        (out / SOURCES_FILE).unlink(missing_ok=True)
        return
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(sources, indent=2)
    (out / SOURCES_FILE).write_text(text + "\n", encoding="utf-8")


def stage_options(out: Path, stage: str) -> dict[str, Any]:
    """The options that a stage was run with in a folder of stages; empty where it was not run."""
    options: dict[str, Any] = _read_state(out, stage).get("wish", {})
    return options


def write_training_record(out: Path, checkpoint: Path) -> None:
    """Writes `training.json` and `log/STAGE/*.csv` into a checkpoint's folder.

    Args:
        out: the folder of all stages; a stage that was not run there is left out.
        checkpoint: the checkpoint's folder.
    """
    stages: dict[str, Any] = {}
    for stage in _STAGES:
        state = _read_state(out, stage)
        if not state:
            continue
        stages[stage] = {
            "steps": state["step"],
            "minutes": round(state["seconds"] / 60.0, 1),
            "best_validation_score": round(float(state["best_score"]), 4),
            "options": state["wish"],
        }
        for name in _LOGS:
            if (out / stage / name).is_file():
                (checkpoint / LOG_FOLDER / stage).mkdir(parents=True, exist_ok=True)
                lines = (out / stage / name).read_text(encoding="utf-8").splitlines(keepends=True)
                every = _STEPS_KEPT if name == "train.csv" else 1
                kept = "".join(lines[:1] + lines[1::every])
                (checkpoint / LOG_FOLDER / stage / name).write_text(kept, encoding="utf-8")
    record = {
        "preset": stages["extractors"]["options"]["preset"],
        "slices": slices_card(out / "slices" / Split.TRAIN.value),
        "stages": stages,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"{torch.cuda.device_count()} GPUs",
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "numpy")},
    }
    if (out / SOURCES_FILE).is_file():
        record["sources"] = json.loads((out / SOURCES_FILE).read_text(encoding="utf-8"))
    text = json.dumps(record, indent=2)
    (checkpoint / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def _read_state(out: Path, stage: str) -> dict[str, Any]:
    path = out / stage / STATE_FILE
    if not path.is_file():
        return {}
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
