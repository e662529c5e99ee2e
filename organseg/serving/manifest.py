"""A release's manifest: what the release is, and the hash of every file in it.

A release is a folder with `manifest.json` and `models/`, the Triton model repository. The
exporter calls `write_manifest` last; a server calls `verify_release` before it loads anything.
The hashes find damage, mix-ups and edits; they are not a signature.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from organseg.contract import CONTRACT_VERSION
from organseg.errors import ReleaseError
from organseg.file_hash import file_sha256

MANIFEST_NAME = "manifest.json"
MODELS_FOLDER = "models"
SCHEMA_VERSION = 4

# The server's Python writes these beside `model.py` when it loads it. They are derived from the
# source that is hashed; like the rest of the manifest, leaving them out guards against damage and
# mix-ups, not against somebody who may write to the release.
_BYTE_CODE_FOLDER = "__pycache__"
_NAMED_AT_MOST = 5
_REMEDY = "export it again with `python -m export --preset … --platform … --out DIR`"


@dataclass(frozen=True)
class Manifest:
    """What a release is made of, and of what."""

    preset: str
    """The preset that was exported."""
    platform: str
    """What runs the graphs: `python`, `onnxruntime` or `tensorrt`."""
    contract_version: str
    """The version of the tensor contract that the models speak."""
    created: str
    """When it was written: ISO 8601, UTC."""
    trained: bool
    """Whether the weights were trained; false for random stand-ins."""
    precision: str
    """What the graphs' products work in: `fp32`, `bf16` or `fp16`."""
    language_model: str
    """What the language model is served in: `fp32`, `bf16`, `fp16`, `int8` or `int4`."""
    placement: str
    """Which GPUs hold the language model: `one`, or all of them, `spread`."""
    explanations: str
    """Whether it can explain its answers: `include` or `leave-out`."""
    image_features: str
    """Whether what is computed of an image is kept for its next question: `reuse` or `direct`."""
    deployment: Mapping[str, Any]
    """What a deployment file changed in the deployment table, by stage; empty for nothing."""
    acceptance: Mapping[str, Any]
    """How answers compare with those of float32 torch; empty where they were not asked for."""
    below_bar: bool
    """Whether it was released although graphs or answers differ more than the export allows."""
    tools: Mapping[str, str]
    """Versions of the tools that made it, by package name."""
    parity: Sequence[Mapping[str, Any]]
    """One record per comparison of a graph with its torch module."""
    sources: Sequence[Mapping[str, Any]]
    """One record per part that was read from a place of its own; empty for a whole checkpoint."""
    files: Mapping[str, str]
    """The sha256 of every file, by its POSIX path in the release; the manifest itself left out."""


def write_manifest(
    release_dir: Path,
    *,
    preset: str,
    platform: str,
    contract_version: str,
    trained: bool,
    tools: Mapping[str, str],
    parity: Sequence[Mapping[str, Any]] = (),
    precision: str = "fp32",
    language_model: str = "fp32",
    placement: str = "one",
    explanations: str = "leave-out",
    image_features: str = "direct",
    deployment: Mapping[str, Any] | None = None,
    acceptance: Mapping[str, Any] | None = None,
    below_bar: bool = False,
    sources: Sequence[Mapping[str, Any]] = (),
    created: str | None = None,
) -> Manifest:
    """Hashes every file of the release and writes its manifest, at once or not at all.

    `parity` and `sources` records hold plain JSON values. `created` is now unless given. Raises
    `ReleaseError` where the folder holds no model or holds a symbolic link.
    """
    _require_models(release_dir)
    manifest = Manifest(
        preset=preset,
        platform=platform,
        contract_version=contract_version,
        created=created or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        trained=trained,
        precision=precision,
        language_model=language_model,
        placement=placement,
        explanations=explanations,
        image_features=image_features,
        deployment=dict(deployment or {}),
        acceptance=dict(acceptance or {}),
        below_bar=below_bar,
        tools=dict(sorted(tools.items())),
        parity=tuple(dict(record) for record in parity),
        sources=tuple(dict(record) for record in sources),
        files={path: _hash_of(release_dir / path) for path in _list_files(release_dir)},
    )
    document = {"schema": SCHEMA_VERSION, **asdict(manifest)}
    _write_atomically(release_dir / MANIFEST_NAME, json.dumps(document, indent=2) + "\n")
    return manifest


def read_manifest(release_dir: Path) -> Manifest:
    """The manifest of a release, its files not yet checked.

    Raises `ReleaseError` where the folder, the manifest or a field of it is missing or
    unreadable, or where its schema is another one than this code writes.
    """
    if not release_dir.is_dir():
        raise ReleaseError(
            f"wanted a release folder, but there is no folder {release_dir.name!r}: {_REMEDY}"
        )
    if not any(release_dir.iterdir()):
        raise ReleaseError(
            f"wanted a release in {release_dir.name!r}, but the folder is empty: {_REMEDY}"
        )
    try:
        text = (release_dir / MANIFEST_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReleaseError(
            f"wanted a release in {release_dir.name!r}, but it has no {MANIFEST_NAME}: {_REMEDY}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(f"{type(error).__name__} on reading it") from None
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(f"it is not JSON ({error})") from None
    return _parse(document)


def verify_release(release_dir: Path) -> Manifest:
    """The manifest, once every file is there, unchanged, and nothing was added to `models/`.

    Raises `ReleaseError` that names what is missing, changed or extra.
    """
    manifest = read_manifest(release_dir)
    _require_models(release_dir)
    present = set(_list_files(release_dir))
    missing = sorted(set(manifest.files) - present)
    extra = sorted(
        path for path in present - set(manifest.files) if path.startswith(f"{MODELS_FOLDER}/")
    )
    changed = sorted(
        path
        for path, expected in manifest.files.items()
        if path in present and _hash_of(release_dir / path) != expected
    )
    findings = [
        f"{label}: {_name_some(paths)}"
        for label, paths in (("missing", missing), ("changed", changed), ("not part of it", extra))
        if paths
    ]
    if findings:
        raise ReleaseError(
            f"the release {release_dir.name!r} differs from its manifest ({'; '.join(findings)}): "
            f"copy it again, or {_REMEDY}"
        )
    return manifest


def describe_release(manifest: Manifest) -> str:
    """What a release is, in a line: preset, platform, precision, and what to be warned of."""
    weights = "trained" if manifest.trained else "UNTRAINED weights: answers mean nothing"
    below = ", BELOW THE BAR: differs more than the export allows" if manifest.below_bar else ""
    return (
        f"preset {manifest.preset} for {manifest.platform} in {manifest.precision}, "
        f"language model in {manifest.language_model}, "
        f"made {manifest.created}, {weights}{below}"
    )


def require_contract(manifest: Manifest) -> None:
    """Raises `ReleaseError` unless the release speaks this version of the tensor contract."""
    if manifest.contract_version != CONTRACT_VERSION:
        raise ReleaseError(
            f"wanted a release of contract version {CONTRACT_VERSION}, which this organseg speaks, "
            f"got {manifest.contract_version}: export it again with this version of organseg"
        )


def _unreadable(reason: str) -> ReleaseError:
    return ReleaseError(f"cannot read the release's {MANIFEST_NAME}: {reason}; {_REMEDY}")


def _parse(document: object) -> Manifest:
    if not isinstance(document, dict):
        raise _unreadable("wanted a JSON object")
    schema = document.get("schema")
    if schema != SCHEMA_VERSION:
        raise ReleaseError(
            f"wanted a manifest of schema {SCHEMA_VERSION}, got {schema!r}: the release was made "
            f"by another version of organseg; install that version, or {_REMEDY}"
        )
    kinds: dict[str, type] = {
        "trained": bool,
        "below_bar": bool,
        "deployment": dict,
        "acceptance": dict,
        "tools": dict,
        "parity": list,
        "sources": list,
        "files": dict,
    }
    values: dict[str, Any] = {}
    for field in fields(Manifest):
        kind = kinds.get(field.name, str)
        value = document.get(field.name)
        if not isinstance(value, kind):
            raise _unreadable(f"wanted {field.name!r} as {kind.__name__}, got {value!r:.40}")
        values[field.name] = value
    for name in ("tools", "files"):
        if not all(isinstance(value, str) for value in values[name].values()):
            raise _unreadable(f"wanted only strings in {name!r}")
    values.update({name: tuple(values[name]) for name in ("parity", "sources")})
    return Manifest(**values)


def _require_models(release_dir: Path) -> None:
    models = release_dir / MODELS_FOLDER
    if not models.is_dir() or not any(entry.is_dir() for entry in models.iterdir()):
        raise ReleaseError(
            f"wanted models in {MODELS_FOLDER}/ of the release {release_dir.name!r}, "
            f"but there are none: {_REMEDY}"
        )


def _list_files(release_dir: Path) -> list[str]:
    """Relative POSIX paths of all files but the manifest and byte code, sorted."""
    found = []
    for folder, subfolders, names in os.walk(release_dir):
        subfolders[:] = sorted(set(subfolders) - {_BYTE_CODE_FOLDER})
        for name in (*subfolders, *names):
            path = Path(folder, name)
            relative = path.relative_to(release_dir).as_posix()
            if path.is_symlink():
                # What a link points at can change without the release changing.
                raise ReleaseError(
                    f"wanted only files and folders in a release, but {relative} is a symbolic "
                    f"link: put the file itself there, or {_REMEDY}"
                )
            if name in names and relative != MANIFEST_NAME:
                found.append(relative)
    return sorted(found)


def _hash_of(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ReleaseError(
            f"cannot read {path.name} of the release ({type(error).__name__}): "
            "give this user the right to read it"
        ) from None


def _name_some(paths: Iterable[str]) -> str:
    listed = list(paths)
    more = len(listed) - _NAMED_AT_MOST
    return ", ".join(listed[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _write_atomically(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes the file private; a release is read by the user that serves it.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
