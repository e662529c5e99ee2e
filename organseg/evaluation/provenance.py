"""Where a record comes from: code, versions, machine. No users, hosts or folders are named."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import organseg
from organseg.contract import CONTRACT_VERSION

__all__ = ["describe_run", "without_folders"]

_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("numpy", "scipy", "scikit-image", "torch", "transformers", "tritonclient")


def describe_run(
    arguments: Sequence[str],
    module: str = "organseg.evaluation",
    packages: Sequence[str] = _PACKAGES,
) -> dict[str, str]:
    """Facts of this run, by name, for a record's provenance; `arguments` is the command line.

    Paths in it are cut to their last name, the server's address to its port.
    """
    shown = shlex.join(
        _without_host(without_folders(argument), before)
        for before, argument in zip(["", *arguments], arguments, strict=False)
    )
    return {
        "command": f"python -m {module} {shown}",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "organseg": f"{organseg.__version__}, contract {CONTRACT_VERSION}",
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "packages": ", ".join(
            f"{name} {found}" for name in packages if (found := _version(name)) is not None
        ),
    }


def without_folders(text: str) -> str:
    """The text with each path cut to its last name: `scan:/a/b.nii,c/d` to `scan:b.nii,d`."""
    return re.sub(r"[^,:=]*/([^,:=/]+)/*", r"\1", text)


def _without_host(argument: str, before: str) -> str:
    """The value of `--url` without its host; anything else as it is."""
    if before == "--url" or argument.startswith("--url="):
        return re.sub(r"^(--url=)?.*:", r"\1HOST:", argument)
    return argument


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
    # What evaluations themselves write is not code.
    changed = _git("status", "--porcelain", "--", ".", ":!docs/results", ":!README.md")
    return f"{head[:12]} with uncommitted changes" if changed else head[:12]


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
