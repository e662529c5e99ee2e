"""The training state on disk: written whole or not at all, read back to go on."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from organseg.errors import CheckpointError

STATE_FILE = "state.pt"
BEST_FILE = "best.safetensors"


@dataclass
class TrainingState:
    """Where a run stands. Chance needs no state: it follows from the seed and the step."""

    wish: dict[str, Any]
    """What was asked for; a state of another wish is refused."""
    step: int = 0
    """Optimizer steps done: also the position in the data."""
    seconds: float = 0.0
    """Wall-clock time spent training."""
    best_score: float = float("-inf")
    """The best validation score so far."""
    stale: int = 0
    """Validations since then."""
    finished: bool = False
    """Whether the stage came to its end."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """The trained weights."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """The optimizer's moments."""

    def save(self, folder: Path) -> None:
        """Writes the state beside the old one, then takes its place in one move."""
        folder.mkdir(parents=True, exist_ok=True)
        # `dataclasses.asdict` would copy every tensor.
        values = dict(vars(self))
        temporary = folder / f"{STATE_FILE}.{os.getpid()}"
        torch.save(values, temporary)
        os.replace(temporary, folder / STATE_FILE)


def load_state(folder: Path, wish: dict[str, Any]) -> TrainingState:
    """The state of a folder, or a fresh one where there is none.

    Raises:
        CheckpointError: the state is of another wish, or cannot be read.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return TrainingState(wish=wish)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        state = TrainingState(**values)
    except (OSError, RuntimeError, TypeError, KeyError, UnpicklingError) as error:
        raise CheckpointError(
            f"wanted a training state in {folder}, got a file that is not one "
            f"({type(error).__name__}): remove it to begin anew"
        ) from error
    if state.wish != wish:
        changed = sorted(
            key
            for key in {*state.wish, *wish}
            if state.wish.get(key, "(not set)") != wish.get(key, "(not set)")
        )
        raise CheckpointError(
            f"wanted a run with the options that {folder.name} was begun with, got others for "
            f"{', '.join(changed)}: give the same options, or name another folder"
        )
    return state


def options_wish(*options: Any) -> dict[str, Any]:
    """All options as plain values by name, but those that may change between two starts."""
    passing = {"save_minutes", "processes", "workers"}
    wish: dict[str, Any] = {}
    for each in options:
        for name, value in asdict(each).items():
            if name not in passing:
                wish[f"{type(each).__name__}.{name}"] = value
    return wish


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """The weights that take gradients, and the running statistics beside them, by name."""
    return {name: weight.detach().cpu() for name, weight in _trained(module).items()}


@torch.no_grad()
def put_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Puts weights back in; raises `CheckpointError` unless they are exactly the trained ones."""
    own = _trained(module)
    if own.keys() != weights.keys():
        raise CheckpointError(
            f"wanted {len(own)} trained weights, got {len(weights)}, not the same: "
            "use the folder with the options that made it"
        )
    for name, weight in own.items():
        weight.copy_(weights[name])


def _trained(module: nn.Module) -> dict[str, Tensor]:
    """What makes a trained part: its weights, and its persistent buffers.

    Buffers are running statistics, and SAM's random frequencies, which its weights are worth
    nothing without. A buffer is of the nearest module around it that has weights.
    """
    parts = dict(module.named_modules())
    found: dict[str, Tensor] = {}
    for prefix, part in parts.items():
        own = {
            name: weight
            for name, weight in part.named_parameters(recurse=False)
            if weight.requires_grad
        }
        if _learns_around(parts, prefix):
            passing = part._non_persistent_buffers_set
            kept = part.named_buffers(recurse=False)
            own |= {name: buffer for name, buffer in kept if name not in passing}
        found |= {f"{prefix}.{name}" if prefix else name: each for name, each in own.items()}
    # A weight that two layers share is trained once, under its first name.
    first = {id(each): name for name, each in reversed(found.items())}
    return {name: each for name, each in found.items() if first[id(each)] == name}


def _learns_around(parts: dict[str, nn.Module], prefix: str) -> bool:
    """Whether the nearest module around a place, itself included, that has weights is trained."""
    while prefix and not any(True for _ in parts[prefix].parameters()):
        prefix = prefix.rpartition(".")[0]
    return any(weight.requires_grad for weight in parts[prefix].parameters())


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Writes weights as one safetensors file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, str(temporary))
    os.replace(temporary, path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads them; raises `CheckpointError` that names the stage to run where there are none."""
    if not path.is_file():
        raise CheckpointError(
            f"wanted the weights of the stage {path.parent.name}, found none in {path.parent}: "
            f"run `python -m organseg.training {path.parent.name}` first"
        )
    return load_file(str(path))
