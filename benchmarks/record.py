"""What every record says of its making: when, with which code, on which machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.workload import REPO_ROOT
from organseg.errors import OrganSegError

_PACKAGES = (
    "organseg",
    "numpy",
    "nvidia-pytriton",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "pillow",
    "tensorrt",
    "torch",
    "transformers",
    "tritonclient",
)
_GIT_TIMEOUT_S = 30


class RecordError(OrganSegError):
    """A record cannot be written or read."""


def describe_run() -> dict[str, Any]:
    """Time, commit, machine and package versions, as plain values for JSON.

    The machine is the one that this runs on: the server's too, unless that was named by address.
    """
    return {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": describe_commit(REPO_ROOT),
        "machine": describe_machine(),
        "packages": _package_versions(),
    }


def describe_commit(folder: Path) -> dict[str, Any] | None:
    """The commit and whether files differ from it; None where git or the repository is missing.

    Records differ while they are made: `docs/results` does not count.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".", ":(exclude)docs/results")
    if commit is None or changes is None:
        return None
    return {"id": commit, "modified": bool(changes)}


def describe_machine() -> dict[str, Any]:
    """CPU model, cores that this process may use, and how busy they were before."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record as JSON, making its folder; raises `RecordError` where that fails."""
    write_text(path, json.dumps(record, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, making its folder; raises `RecordError` where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(
            f"wanted to write {path.name!r}, the system says {error.strerror}: name another file"
        ) from None


def read_record(path: Path) -> dict[str, Any]:
    """A record as plain values; raises `RecordError` where the file cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"wanted a record in {path.name!r}, it cannot be read ({type(error).__name__}): "
            "write one with --json"
        ) from None
    if not isinstance(document, dict):
        raise RecordError(
            f"wanted a record in {path.name!r}, got another document: write one with --json"
        )
    return document


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
