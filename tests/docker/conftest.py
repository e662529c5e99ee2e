"""What the entry points find in their images: `organseg` on PATH, a small release, few rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docker_context import REPO_ROOT
from entry_points import CONFINED_SCRATCH, write_program

from organseg.contract import CONTRACT_VERSION
from organseg.serving.manifest import write_manifest

# A mount namespace of its own where the root is read-only, the scratch folder a tmpfs, /tmp a layer
# over what lies there (tests keep their files there, and Triton's Python backend writes there), and
# no capability is left: what `read_only`, `tmpfs` and `cap_drop: [ALL]` give a container.
_CONFINE = (
    'mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$0" && mkdir "$0/upper" "$0/work" && '
    'mount -t overlay -o "lowerdir=/tmp,upperdir=$0/upper,workdir=$0/work" overlay /tmp && '
    "mount -o remount,bind,ro / && "
    'exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all "$@"'
)


@pytest.fixture(scope="session")
def confine() -> list[str]:
    """The head of a command line that confines the rest to /tmp, /dev/shm and the scratch folder.

    Skips where this user may not make such a mount namespace.
    """
    for way in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        head = [*way, "sh", "-c", _CONFINE, CONFINED_SCRATCH]
        try:
            tried = subprocess.run([*head, "true"], capture_output=True, timeout=30)
        except OSError:
            continue
        if tried.returncode == 0:
            return head
    pytest.skip("this machine lets nobody make a read-only root (unshare --mount)")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with `organseg`, as an image has it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    write_program(folder / "organseg", f'exec "{sys.executable}" -m organseg "$@"')
    return folder


@pytest.fixture
def image_environment(programs: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of an entry point: nothing of this process's but what an image would set."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.defpath}",
        "PYTHONPATH": os.pathsep.join((str(REPO_ROOT), str(REPO_ROOT / "client"))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture
def small_release(tmp_path: Path) -> Path:
    """A release that verifies, with one file in it."""
    folder = tmp_path / "release"
    (folder / "models" / "gate" / "1").mkdir(parents=True)
    (folder / "models" / "gate" / "1" / "model.py").write_text("import this\n")
    facts = {"preset": "tiny", "platform": "python", "contract_version": CONTRACT_VERSION}
    write_manifest(folder, **facts, trained=False, tools={"toy": "1"})
    return folder
