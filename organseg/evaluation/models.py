"""What is evaluated, opened: a predictor, its name, and what a reader must know about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from organseg.contract.presets import preset_by_name
from organseg.evaluation.baselines import Predictor, Segmenter
from organseg.evaluation.calibration import SIMILARITY_TEMPERATURE
from organseg.evaluation.predictors import ReferencePredictor, ServerPredictor
from organseg.file_hash import file_sha256

if TYPE_CHECKING:
    from organseg.networks.checkpoint import Checkpoint

__all__ = [
    "UNTRAINED_NOTICE",
    "EvaluatedModel",
    "load_reference",
    "make_untrained",
    "open_server",
    "serve_release",
]

UNTRAINED_NOTICE = (
    "The weights are untrained (seeded random numbers): what follows shows that the evaluation "
    "works, and says nothing about the method."
)
UNKNOWN_TRAINING_NOTICE = (
    "A server does not tell whether its weights were trained: name its release (--release) to "
    "have that on record."
)

_DEADLINE_S = 120.0
_CACHE_FILE = "models/gate/1/context_cache.safetensors"


@dataclass(frozen=True)
class EvaluatedModel:
    """Something that answers, and what is known of it."""

    name: str
    """As it is called in tables and titles."""
    predictor: Predictor
    """What answers the questions."""
    segmenter: Segmenter | None
    """What draws the boxes of the baselines; `None` where only whole answers can be had."""
    temperature: float
    """What similarities are divided by to become probabilities."""
    notices: tuple[str, ...] = ()
    """What must be said before any number."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For the record's provenance."""


def make_untrained(preset_name: str, seed: int) -> EvaluatedModel:
    """The torch reference with random weights. Raises `CheckpointError` without a text encoder."""
    from organseg.networks.build import build_checkpoint

    checkpoint = build_checkpoint(preset_by_name(preset_name), seed=seed)
    return _reference(checkpoint, {"weights": checkpoint.card.description})


def load_reference(folder: Path, preset_name: str) -> EvaluatedModel:
    """The torch reference with a checkpoint's weights. Raises `CheckpointError`."""
    from organseg.networks.checkpoint import EXTRACTORS_FILE, load_checkpoint

    checkpoint = load_checkpoint(folder, preset_by_name(preset_name))
    facts = {
        "weights": checkpoint.card.description,
        f"sha256 of {EXTRACTORS_FILE}": file_sha256(folder / EXTRACTORS_FILE),
    }
    return _reference(checkpoint, facts)


@contextmanager
def serve_release(release: Path) -> Iterator[EvaluatedModel]:
    """A release on an embedded server of its own, which ends with the block.

    Raises `ReleaseError` and `ServerStartError`.
    """
    from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
    from organseg.serving.manifest import MODELS_FOLDER, verify_release

    verify_release(release)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with (
        EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe()) as server,
        open_server(server.grpc_address, release) as model,
    ):
        yield model


@contextmanager
def open_server(url: str, release: Path | None) -> Iterator[EvaluatedModel]:
    """The server at `HOST:PORT`, asked at once whether it is there and speaks our contract.

    `release` is the release that it serves, where that is on this machine: it tells whether the
    weights were trained. Raises `ReleaseError` and what `OrganSegClient.connect` raises.
    """
    from organseg_client import OrganSegClient

    name, temperature = "server", SIMILARITY_TEMPERATURE
    notices: tuple[str, ...] = (UNKNOWN_TRAINING_NOTICE,)
    facts = {"weights": "as served"}
    if release is not None:
        from organseg.networks.context_cache import load_context_cache
        from organseg.serving.manifest import MANIFEST_NAME, verify_release

        manifest = verify_release(release)
        name = f"{manifest.preset} on {manifest.platform}, served"
        temperature = load_context_cache(release / _CACHE_FILE).temperature
        notices = () if manifest.trained else (UNTRAINED_NOTICE,)
        facts[f"sha256 of {MANIFEST_NAME}"] = file_sha256(release / MANIFEST_NAME)
        if not manifest.trained:
            name += ", untrained"
    with OrganSegClient(url, deadline_s=_DEADLINE_S) as client:
        client.connect()
        yield EvaluatedModel(name, ServerPredictor(client), None, temperature, notices, facts)


def _reference(checkpoint: Checkpoint, facts: Mapping[str, str]) -> EvaluatedModel:
    predictor = ReferencePredictor(checkpoint)
    is_trained = checkpoint.card.trained
    return EvaluatedModel(
        name=checkpoint.card.preset + ("" if is_trained else ", untrained"),
        predictor=predictor,
        segmenter=predictor,
        temperature=checkpoint.cache.temperature,
        notices=() if is_trained else (UNTRAINED_NOTICE,),
        facts={"preset": checkpoint.card.preset, **facts},
    )
