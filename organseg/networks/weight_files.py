"""Reads weight files, one tensor at a time: safetensors in one file or many, pickles without code.

Of a sharded checkpoint every file is looked for, and its header read, before the first tensor is:
a folder that lacks a part is refused at once and by name, not after minutes of loading.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from organseg.errors import CheckpointError
from organseg.file_hash import file_sha256

SHARD_INDEX = "model.safetensors.index.json"
"""Names the file of every tensor of a sharded checkpoint."""
_SHARD_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
_NAMED_AT_MOST = 3


def shard_paths(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint's folder, all there and each whole.

    The index says which there should be; without one, the shards' own numbers do. Files that
    the index does not name are left aside.

    Raises:
        CheckpointError: there is none, one is missing, or one is damaged; the message names it.
    """
    wanted = _indexed(folder) or _numbered(folder)
    if not wanted:
        raise CheckpointError(
            f"wanted *.safetensors files in {folder.name}, found none: give the folder as it is "
            "published"
        )
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        named = ", ".join(missing[:_NAMED_AT_MOST])
        more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
        raise CheckpointError(
            f"wanted all {len(wanted)} files of weights in {folder.name}, missing: {named}{more}. "
            "Nothing was read; copy or download what is missing"
        )
    paths = [folder / name for name in wanted]
    for path in paths:
        # Opening checks the header against the file's length.
        with _opened(path):
            pass
    return paths


def read_shards(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a checkpoint's folder with its name, read when it is asked for.

    Raises:
        CheckpointError: as `shard_paths`, before the first tensor.
    """
    for path in shard_paths(folder):
        yield from read_safetensors(path)


def read_safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of one safetensors file with its name, read when it is asked for.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            yield name, file.get_tensor(name)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a safetensors file, by name; only the header is read.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _opened(path) as file:
        names = list(file.keys())
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_pickle(path: Path, published: str) -> dict[str, Tensor]:
    """The state dict of a `.pth` or `.bin` file; nothing in it is executed.

    Args:
        path: the file.
        published: what to give instead of a file that is not one, for the message.

    Raises:
        CheckpointError: the file is missing, damaged, holds code or something else than tensors.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # PyTorch's own message advises to load it with code after all.
        raise CheckpointError(
            f"wanted plain weights in {path.name}, found a damaged file or one with code, which is "
            f"never run: give {published} as it is published"
        ) from error
    except (OSError, EOFError, RuntimeError) as error:
        raise CheckpointError(
            f"wanted weights in {path.name}, could not read them ({error}): give {published} as "
            "it is published"
        ) from error
    if not isinstance(weights, dict):
        raise CheckpointError(
            f"wanted a state dict in {path.name}, got a {type(weights).__name__}: give "
            f"{published} as it is published"
        )
    others = [str(name) for name, each in weights.items() if not isinstance(each, Tensor)]
    if others:
        raise CheckpointError(
            f"wanted only tensors in {path.name}, got others under {others[:_NAMED_AT_MOST]}: "
            f"give {published} as it is published, without a training's state"
        )
    return weights


def _indexed(folder: Path) -> list[str]:
    """The files that the index names; none where there is no index."""
    path = folder / SHARD_INDEX
    if not path.is_file():
        return []
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"wanted the list of weights in {SHARD_INDEX} of {folder.name}, could not read it "
            f"({type(error).__name__}): copy it again"
        ) from error
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside or not names:
        raise CheckpointError(
            f"wanted file names in {SHARD_INDEX} of {folder.name}, got {outside[:1] or 'none'}: "
            "copy it again"
        )
    return sorted(names)


def _numbered(folder: Path) -> list[str]:
    """The files that are there, and those whose numbers are left out between them."""
    names = {path.name for path in folder.glob("*.safetensors")}
    for name in sorted(names):
        if found := _SHARD_NAME.fullmatch(name):
            stem, count = found[1], int(found[3])
            names |= {f"{stem}-{n:05d}-of-{found[3]}.safetensors" for n in range(1, count + 1)}
    return sorted(names)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open safetensors file; what goes wrong with it is told under its name."""
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"wanted a safetensors file, {path.name} is not one ({error}): copy it again"
        ) from error


def sha256_of(path: Path) -> str:
    """The hash of a file, as hexadecimal digits.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise CheckpointError(
            f"wanted to read {path}, could not ({type(error).__name__}): check that it is there "
            "and may be read"
        ) from error
