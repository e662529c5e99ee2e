"""Where the parts of a checkpoint come from: a path, or an id on the Hugging Face hub.

`PATH` is a file or folder as it is published; `owner/name`, or `owner/name@revision`, is a model
on the hub, unless there is such a path. What was read is recorded: file by file with its hash,
and of a model on the hub the commit and the licence, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from organseg.errors import SourceError
from organseg.networks import context_cache
from organseg.networks.checkpoint import CARD_FILE, EXTRACTORS_FILE, TOKENIZER_FILE
from organseg.networks.hub import Hub
from organseg.networks.licences import Licence, licence_of, require_agreement
from organseg.networks.lora import CONFIG_FILE, WEIGHTS_FILE
from organseg.networks.original_segmenter import FILE_NAMES as MEDSAM_FILES
from organseg.networks.weight_files import SHARD_INDEX, sha256_of, shard_paths

OPENAI_TOWER = "openai/clip-vit-large-patch14-336"
"""The tower that LLaVA-Med's own began as, and that Microsoft's loader puts in its place."""
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?!.*\.\.)(\w[\w./-]*))?")


@dataclass(frozen=True)
class Part:
    """One part of a checkpoint, and the files that it is read from."""

    name: str
    """What a manifest calls it."""
    weights: tuple[str, ...]
    """Patterns of the files with weights; the first that any file fits counts, alone."""
    beside: tuple[str, ...] = ()
    """Patterns of what is read besides, where it is there."""
    is_sharded: bool = False
    """Whether its weights may be spread over several files."""

    def chosen(self, names: Iterable[str]) -> list[str]:
        """The files of these that are read, sorted; none where none has weights."""
        listed = sorted(names)
        for pattern in self.weights:
            found = [name for name in listed if fnmatchcase(name, pattern)]
            if found:
                beside = [n for n in listed if any(fnmatchcase(n, each) for each in self.beside)]
                return sorted({*found, *beside})
        return []


_SAFETENSORS = ("model-*-of-*.safetensors", "*.safetensors")
LLAVA_MED = Part(
    "llava_med",
    _SAFETENSORS,
    (
        "config.json",
        SHARD_INDEX,
        TOKENIZER_FILE,
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ),
    is_sharded=True,
)
VISION_TOWER = Part(
    "vision_tower",
    (*_SAFETENSORS, "pytorch_model.bin"),
    ("config.json", SHARD_INDEX),
    is_sharded=True,
)
MEDSAM = Part("medsam", MEDSAM_FILES)
ADAPTER = Part("adapter", (WEIGHTS_FILE,), (CONFIG_FILE,))
HEADS = Part("heads", (EXTRACTORS_FILE,), (context_cache.FILE_NAME, CARD_FILE))


@dataclass(frozen=True)
class Source:
    """Where a part came from, and what was read of it."""

    part: str
    """The part's name."""
    path: Path
    """The file or folder that it is loaded from."""
    hub_id: str | None
    """`owner/name`, where it came from the hub."""
    revision: str | None
    """The commit's hash on the hub."""
    licence: str | None
    """What was agreed to before it was downloaded; of a path nothing is known."""
    sha256: Mapping[str, str]
    """The hash of every file that is read, by its name."""

    def to_json(self) -> dict[str, Any]:
        """What a manifest keeps: plain values, and of a path its last name alone."""
        return {
            "part": self.part,
            "name": self.hub_id or self.path.resolve().name,
            "revision": self.revision,
            "licence": self.licence,
            "sha256": dict(self.sha256),
        }


def resolve(
    text: str, part: Part, *, accept_licence: bool = False, hub: Hub | None = None
) -> Source:
    """A part's files on this machine, downloaded if need be.

    Args:
        text: a path, or a hub id with or without a revision.
        part: what it holds.
        accept_licence: whether a licence was agreed to; otherwise a person at a terminal is asked
            before a download.
        hub: where ids are looked up.

    Raises:
        SourceError: there is no such thing, nobody agreed to its licence, or the hub does not
            give it.
        CheckpointError: a file of weights is missing or damaged.
    """
    path = Path(text).expanduser()
    if path.exists():
        return _hashed(part, path)
    found = _HUB_ID.fullmatch(text)
    if not found:
        raise SourceError(
            f"wanted {part.name} in {text}, there is no such path: give a path that exists, or an "
            "id on the hub (owner/name, owner/name@revision)"
        )
    return _from_hub(part, found[1], found[2], accept_licence=accept_licence, hub=hub or Hub())


def _from_hub(
    part: Part, hub_id: str, revision: str | None, *, accept_licence: bool, hub: Hub
) -> Source:
    listing = hub.look_up(hub_id, revision)
    if listing is None:
        folder = _cached(part, hub_id, revision, hub)
        licence = licence_of(hub_id, None)
        print(f"{hub_id}: {licence.name}; the hub was not asked", file=sys.stderr)
        return _hashed(part, folder, hub_id, folder.name, licence)
    names = part.chosen(file.name for file in listing.files)
    if not names:
        raise SourceError(
            f"wanted {_any_of(part)} in {hub_id}, found none: this model is not published in a "
            f"layout that can be read as {part.name}; see docs/checkpoints.md"
        )
    licence = licence_of(hub_id, listing.licence)
    if hub.missing(listing, names):
        require_agreement(hub_id, hub.page_of(hub_id), licence, accepted=accept_licence)
    else:
        print(f"{hub_id}: {licence.name}; already downloaded", file=sys.stderr)
    return _hashed(part, hub.fetch(listing, names), hub_id, listing.revision, licence)


def _cached(part: Part, hub_id: str, revision: str | None, hub: Hub) -> Path:
    """The folder in the cache, where the hub cannot be asked."""
    for pattern in part.weights:
        folder = hub.cached(hub_id, revision, [*part.beside, pattern])
        if folder and any(fnmatchcase(path.name, pattern) for path in folder.iterdir()):
            return folder
    raise SourceError(
        f"wanted {hub_id} from the hub, it could not be reached (no connection, or HF_HUB_OFFLINE "
        "is set) and the cache does not hold all of it: run the same command again with a "
        "connection, when it goes on where it stopped, or give a path"
    )


def _hashed(
    part: Part,
    path: Path,
    hub_id: str | None = None,
    revision: str | None = None,
    licence: Licence | None = None,
) -> Source:
    if path.is_dir():
        names = part.chosen(each.name for each in path.iterdir() if each.is_file())
        if not names:
            raise SourceError(
                f"wanted {_any_of(part)} for {part.name} in {path}, found none: give the folder as "
                "it is published"
            )
        if part.is_sharded and any(name.endswith(".safetensors") for name in names):
            # Told before gigabytes are hashed.
            shard_paths(path)
        files = [path / name for name in names]
    else:
        files = [path]
    return Source(
        part=part.name,
        path=path,
        hub_id=hub_id,
        revision=revision,
        licence=licence.name if licence else None,
        sha256={file.name: sha256_of(file) for file in files},
    )


def _any_of(part: Part) -> str:
    return " or ".join(part.weights)
