"""What goes to the builder: what the images are made of, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from docker_context import (
    DOCKERFILES,
    REPO_ROOT,
    all_copied,
    copied_from_context,
    is_ignored,
    stages_of,
    tracked_files,
)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "build/releases/tiny/manifest.json",
        "docker/compose.yaml",
        "docs/contract.md",
        "demo/samples/ct_chest.png",
        "tests/conftest.py",
        "organseg/__pycache__/errors.cpython-311.pyc",
        "export/checkpoints/tiny/log/extractors/train.csv",
    ],
)
def test_what_no_image_needs_is_not_sent(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_copied_source_is_there_and_sent(dockerfile: Path) -> None:
    for stage in stages_of(dockerfile)[1].values():
        for source in copied_from_context(stage):
            assert (REPO_ROOT / source).exists(), source
            assert not is_ignored(source), source


def test_every_file_that_is_sent_is_copied_by_some_image() -> None:
    copied = all_copied()
    sent = [path for path in tracked_files() if not is_ignored(path)]
    assert "organseg/errors.py" in sent
    unused = [
        path
        for path in sent
        if not any(path == source or path.startswith(f"{source}/") for source in copied)
        # The other lists of versions are small, and lie in the folder of those that are used.
        and not path.startswith("constraints/")
    ]
    assert unused == []


@pytest.mark.slow
def test_the_wheel_can_be_built_from_what_is_sent(tmp_path: Path) -> None:
    context = tmp_path / "context"
    sources = copied_from_context(stages_of(DOCKERFILES[0])[1]["wheel"])
    for path in tracked_files():
        if not is_ignored(path) and any(path == s or path.startswith(f"{s}/") for s in sources):
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPO_ROOT / path, context / path)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(context)], check=True)
    (wheel,) = tmp_path.glob("organseg-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    modules = [
        path.removeprefix("client/")
        for path in tracked_files()
        if path.startswith(("organseg/", "client/organseg_client/"))
    ]
    assert modules
    assert set(modules) <= packed
