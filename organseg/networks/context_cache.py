"""The context cache: a prototype per organ (C_i) and several irrelevant ones (C').

Prototypes are unit vectors in the text encoder's space, each the mean over several sentences
of `descriptions.json`. The file also keeps what turns similarities into verdicts: temperature
and thresholds. It is a safetensors file whose header names the encoder; heads trained for one
encoder refuse a cache built by another.

Command: `python -m organseg.networks.context_cache` builds the default cache again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from organseg.errors import CheckpointError
from organseg.networks.gate import Thresholds
from organseg.organs import NONE, ORGANS

FILE_NAME = "context_cache.safetensors"
"""The file's name in a checkpoint and in a release."""


@dataclass(frozen=True)
class ContextCache:
    """The constant that F_t is compared with, and the thresholds that judge the outcome."""

    prototypes: npt.NDArray[np.float32]
    """float32 [N, E], unit rows."""
    organ_ids: npt.NDArray[np.int32]
    """int32 [N]: 1 to 13, once each, and 14 (none) for every irrelevant prototype."""
    labels: tuple[str, ...]
    """What each prototype stands for: an organ's name or an irrelevant topic."""
    encoder_name: str
    """The text encoder's published name."""
    encoder_sha256: str
    """The hash of the text encoder's weights."""
    temperature: float
    """What similarities are divided by in the training loss (cross-entropy over 14)."""
    thresholds: Thresholds
    """What `gate` decides by."""

    def __post_init__(self) -> None:
        """Refuses a cache that does not hold each organ once and something irrelevant."""
        counts = np.bincount(self.organ_ids, minlength=NONE.id + 1)
        organs_once = bool((counts[1 : NONE.id] == 1).all())
        if not organs_once or counts[NONE.id] < 1 or len(self.labels) != len(self.organ_ids):
            raise CheckpointError(
                "wanted a context cache with one prototype for each of 13 organs and at least "
                f"one irrelevant one, got organ ids {sorted(self.organ_ids.tolist())}: "
                "build it with `python -m organseg.networks.context_cache`"
            )

    @property
    def organ_prototypes(self) -> npt.NDArray[np.float32]:
        """float32 [13, E]: row i belongs to organ id i + 1."""
        order = [int(np.flatnonzero(self.organ_ids == organ.id)[0]) for organ in ORGANS]
        rows: npt.NDArray[np.float32] = self.prototypes[order]
        return rows

    @property
    def irrelevant_prototypes(self) -> npt.NDArray[np.float32]:
        """float32 [M, E]: C'."""
        rows: npt.NDArray[np.float32] = self.prototypes[self.organ_ids == NONE.id]
        return rows

    def relabelled(self, permutation: npt.NDArray[np.intp]) -> ContextCache:
        """The cache with the organ ids of its organ rows shuffled; for tests of side paths.

        Args:
            permutation: int [13], a rearrangement of 0 to 12; the prototype of organ i + 1
                becomes that of organ `permutation[i] + 1`.
        """
        organ_ids = self.organ_ids.copy()
        organ_rows = organ_ids != NONE.id
        organ_ids[organ_rows] = permutation[organ_ids[organ_rows] - 1] + 1
        return replace(self, organ_ids=organ_ids)

    def require_encoder(self, sha256: str) -> None:
        """Raises `CheckpointError` unless the cache was built by the encoder of this hash."""
        if self.encoder_sha256 != sha256:
            raise CheckpointError(
                f"wanted a context cache of the text encoder {sha256[:12]}…, got one of "
                f"{self.encoder_name} ({self.encoder_sha256[:12]}…): build the cache again "
                "with the encoder that the heads were trained with"
            )

    def save(self, path: Path) -> None:
        """Writes the cache as one safetensors file."""
        header = {
            "labels": json.dumps(self.labels),
            "encoder_name": self.encoder_name,
            "encoder_sha256": self.encoder_sha256,
            "temperature": repr(self.temperature),
            "thresholds": json.dumps(self.thresholds.to_json()),
        }
        tensors = {"prototypes": self.prototypes, "organ_ids": self.organ_ids}
        save_file(tensors, str(path), metadata=header)


def load_context_cache(path: Path) -> ContextCache:
    """Reads a cache file; raises `CheckpointError` where it is not one."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            return ContextCache(
                prototypes=file.get_tensor("prototypes"),
                organ_ids=file.get_tensor("organ_ids"),
                labels=tuple(json.loads(header["labels"])),
                encoder_name=header["encoder_name"],
                encoder_sha256=header["encoder_sha256"],
                temperature=float(header["temperature"]),
                thresholds=Thresholds.from_json(json.loads(header["thresholds"])),
            )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"wanted a context cache file, {path.name} is not one ({error}): build it with "
            "`python -m organseg.networks.context_cache`"
        ) from error


def default_context_cache() -> ContextCache:
    """The cache that ships with the package, built from its `descriptions.json`."""
    return load_context_cache(Path(str(files("organseg.networks") / FILE_NAME)))


def build_context_cache(descriptions: dict[str, dict[str, list[str]]]) -> ContextCache:
    """Embeds descriptions with the text encoder into a cache with neutral thresholds.

    Args:
        descriptions: {"organs": {name: sentences}, "irrelevant": {topic: sentences}}.
    """
    from organseg.networks.text_encoder import ENCODER_NAME, embed, encoder_sha256

    groups = [(o.id, o.name, descriptions["organs"][o.name]) for o in ORGANS]
    groups += [(NONE.id, topic, texts) for topic, texts in descriptions["irrelevant"].items()]
    means = np.stack([embed(texts).mean(axis=0) for _, _, texts in groups])
    return ContextCache(
        prototypes=(means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32),
        organ_ids=np.array([organ_id for organ_id, _, _ in groups], dtype=np.int32),
        labels=tuple(label for _, label, _ in groups),
        encoder_name=ENCODER_NAME,
        encoder_sha256=encoder_sha256(),
        temperature=0.04,
        thresholds=Thresholds(),
    )


def load_descriptions() -> dict[str, dict[str, list[str]]]:
    """The sentences, written for this project, that the default cache is built from."""
    text = (files("organseg.networks") / "descriptions.json").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, list[str]]] = json.loads(text)
    return loaded


def main(arguments: list[str] | None = None) -> int:
    """Builds the default cache from `descriptions.json`."""
    parser = argparse.ArgumentParser(
        prog="python -m organseg.networks.context_cache",
        description="Embed organseg/networks/descriptions.json with the text encoder.",
    )
    parser.add_argument("--out", type=Path, default=Path("organseg/networks") / FILE_NAME)
    options = parser.parse_args(arguments)
    cache = build_context_cache(load_descriptions())
    cache.save(options.out)
    print(f"{options.out}: {len(cache.labels)} prototypes of {cache.encoder_name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
