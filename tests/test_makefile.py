"""The make targets for a GPU ask for one before they install anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run_make(target: str, nvidia_smi: str, environment: Path) -> subprocess.CompletedProcess[str]:
    variables = [f"NVIDIA_SMI={nvidia_smi}", f"GPU_VENV={environment}"]
    return subprocess.run(
        ["make", "-C", str(REPO_ROOT), target, *variables],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("target", ["test-gpu", "bench-gpu"])
def test_without_nvidia_smi_make_says_so_and_installs_nothing(target: str, tmp_path: Path):
    done = run_make(target, "no-such-nvidia-smi", tmp_path / "venv")
    assert done.returncode != 0
    assert "wanted a machine with an NVIDIA GPU, found no no-such-nvidia-smi" in done.stderr
    assert "where NVIDIA's driver is installed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_driver_that_lists_no_gpu_is_told_from_none(tmp_path: Path):
    silent = tmp_path / "nvidia-smi"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    done = run_make("test-gpu", str(silent), tmp_path / "venv")
    assert done.returncode != 0
    assert "lists none: look at the driver" in done.stderr
    assert not (tmp_path / "venv").exists()
