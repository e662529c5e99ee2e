"""The card beside every TensorRT engine: what it was built by and for, checked before it loads.

An engine runs on the TensorRT and the kind of GPU that it was built with. Loaded elsewhere it fails
late, or with words that help nobody; here the mismatch is named first, with the remedy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from organseg.errors import EngineError
from organseg.serving.gpu_machine import GpuMachine, listed, release_of

_REMEDY = (
    "build the engines on this machine, in the image that will serve: "
    "`python -m export --platform tensorrt --preset … --out DIR`"
)


@dataclass(frozen=True)
class EngineCard:
    """What an engine was built by and for."""

    model: str
    """The stage."""
    engine: str
    """The engine's file name."""
    sha256: str
    """Of the engine."""
    graph_sha256: str
    """Of the ONNX graph that it was built from."""
    precision: str
    """What the graph's products work in."""
    tensorrt: str
    """The full version of the TensorRT that built it."""
    compute_capability: str
    """Of the GPU that it was built for, "8.9"."""
    gpu: str
    """That GPU's name."""
    build_seconds: float
    """How long the builder took."""


def engine_file(tensorrt: str, compute_capability: str) -> str:
    """An engine's file name, which says what it is bound to."""
    return f"model_trt{release_of(tensorrt)}_sm{compute_capability.replace('.', '')}.plan"


def write_card(card: EngineCard, version_folder: Path) -> None:
    """Writes the card beside the engine."""
    text = json.dumps(asdict(card), indent=2) + "\n"
    (version_folder / f"{card.engine}.json").write_text(text, encoding="utf-8")


def read_cards(models: Path) -> list[EngineCard]:
    """The cards of all engines in a model repository, by model name.

    Raises `EngineError` where an engine has no card or a card cannot be read.
    """
    cards = []
    for engine in sorted(models.glob("*/*/*.plan")):
        path = engine.with_name(f"{engine.name}.json")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            cards.append(
                EngineCard(**{field.name: values[field.name] for field in fields(EngineCard)})
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"wanted a card beside {engine.parent.parent.name}'s engine, got "
                f"{type(error).__name__} on reading {path.name}: {_REMEDY}"
            ) from error
    return cards


def require_engines_fit(models: Path, machine: GpuMachine) -> None:
    """Raises `EngineError` unless this machine's TensorRT and every GPU can load all engines."""
    for card in read_cards(models):
        built = (
            f"TensorRT {release_of(card.tensorrt)} and compute capability {card.compute_capability}"
        )
        if machine.tensorrt != release_of(card.tensorrt):
            raise EngineError(
                f"wanted the TensorRT that {card.model}'s engine was built by ({built}), this "
                f"machine has {machine.tensorrt or 'none'}: {_REMEDY}"
            )
        other = [gpu for gpu in machine.gpus if gpu.compute_capability != card.compute_capability]
        if other or not machine.gpus:
            raise EngineError(
                f"wanted GPUs that {card.model}'s engine was built for ({built}, {card.gpu}), this "
                f"machine has {listed(other)}: {_REMEDY}, or give the container the matching "
                "GPUs alone (`docker run --gpus`)"
            )
