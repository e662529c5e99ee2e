"""The steps of an export, each kept under a digest of all that goes into it.

A step whose inputs are unchanged is not done again, and an export that was killed goes on where it
was: what a step makes is put in its place in one move, when it is whole. What is kept is checked by
its hashes before it is used; damaged, it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime

from export.progress import Progress
from organseg.file_hash import file_sha256

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "transformers", "peft", "numpy")
"""The packages that graphs are made by: another version makes every step anew."""

_CODE = ("organseg/contract", "organseg/networks", "export")
"""The folders whose code makes what a step keeps."""
RECORD_FILE = "step.json"
"""What a step's folder says of itself: its inputs and the hashes of its files."""
_KEPT = 3
"""Results of one step that are kept; older ones go."""
_MAKING = ".making-"


class Steps:
    """The kept results of steps, in a folder of their own."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        """Takes what killed exports left half made out of the folder.

        Args:
            folder: where results are kept; made if it is not there.
            progress: told of each step, also of those that are not done again.
        """
        self.folder, self.progress = folder, progress
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, _MAKING)

    def result(self, name: str, inputs: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """The folder with what a step made, now or in an earlier export.

        Args:
            name: what the step does, in words; a step's results are told apart by their inputs.
            inputs: all that goes into it, as plain JSON values; code and tools are added.
            make: writes its files into an empty folder.
        """
        wanted = {
            "step": name,
            "inputs": dict(inputs),
            "code": code_sha256(),
            "tools": tool_versions(),
        }
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        place = self.folder / f"{name.replace(' ', '-')}-{digest[:24]}"
        if _is_whole(place):
            os.utime(place)
            self.progress.note(name, "unchanged, kept")
            return place
        shutil.rmtree(place, ignore_errors=True)
        with passing_folder(self.folder, _MAKING) as making:
            with self.progress.step(name):
                make(making)
            files = {path.name: file_sha256(path) for path in sorted(making.iterdir())}
            record = json.dumps({**wanted, "files": files}, indent=2)
            (making / RECORD_FILE).write_text(record + "\n", encoding="utf-8")
            try:
                making.rename(place)
            except OSError:
                # Another export has made the same meanwhile.
                if not _is_whole(place):
                    raise
        self._forget_oldest(name)
        return place

    def _forget_oldest(self, name: str) -> None:
        own = self.folder.glob(f"{name.replace(' ', '-')}-" + "?" * 24)
        newest_first = sorted(own, key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def passing_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder for what is being made; gone at the end, unless it was moved into its place.

    Its name holds this process's number, so that what a killed process left can be told from what
    a running one is about to finish: the former is taken away first.
    """
    _clear(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def code_sha256() -> str:
    """The hash of the code that makes graphs: networks, contract and this package."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for folder in _CODE for path in (root / folder).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def tool_versions() -> dict[str, str]:
    """The versions of `TOOLS`."""
    # ONNX Runtime's build for GPUs is another package with the same module.
    own = {"onnxruntime": onnxruntime.__version__}
    return {name: own.get(name) or version(name) for name in TOOLS}


def _is_whole(place: Path) -> bool:
    """Whether a step's files are there, as they were made."""
    try:
        files = json.loads((place / RECORD_FILE).read_text(encoding="utf-8"))["files"]
        return all(file_sha256(place / name) == found for name, found in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _clear(parent: Path, prefix: str) -> None:
    """Takes away what processes that are no more left half made."""
    for left in parent.glob(f"{prefix}*"):
        number = left.name.removeprefix(prefix).split("-")[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
