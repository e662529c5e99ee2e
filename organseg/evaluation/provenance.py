"""Where a record comes from: code, versions, machine. No names of users or hosts."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import organseg
from organseg.contract import CONTRACT_VERSION

__all__ = ["describe_run", "file_sha256"]

_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("numpy", "scipy", "scikit-image", "torch", "transformers", "tritonclient")


def describe_run(arguments: str) -> dict[str, str]:
    """Facts of this run, by name, for a record's provenance; `arguments` is the command line."""
    return {
        "command": f"python -m organseg.evaluation {arguments}",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "organseg": f"{organseg.__version__}, contract {CONTRACT_VERSION}",
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "packages": ", ".join(
            f"{name} {found}" for name in _PACKAGES if (found := _version(name)) is not None
        ),
    }


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """The checkout's commit, and whether files differ from it."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "not a checkout"
    return f"{head[:12]} with uncommitted changes" if _git("status", "--porcelain") else head[:12]


def _git(*arguments: str) -> str | None:
    # Not the repository that an installed package happens to lie in.
    if not (_CHECKOUT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_CHECKOUT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
