"""The base install, in an environment of its own: the client, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent

IMPORTS = """
import importlib, sys
for name in ("contract", "contract.pbtxt", "imaging.decoding", "imaging.overlay", "organs",
             "questions", "errors"):
    importlib.import_module(f"organseg.{name}")
import organseg_client
heavy = {"torch", "transformers", "onnx", "onnxruntime", "scipy", "nibabel", "pydicom", "rich"}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.slow
def test_the_base_install_brings_the_client_and_no_torch(tmp_path: Path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(REPO_ROOT)], check=True)
    (wheel,) = tmp_path.glob("organseg-*.whl")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", str(wheel)], check=True)

    frozen = subprocess.run(
        [str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    assert "torch" not in frozen.lower()
    imported = subprocess.run(
        [str(python), "-c", IMPORTS], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert imported.stdout.strip() == "[]"

    command = environment / "bin" / "organseg-client"
    taught = subprocess.run(
        [str(command), "segment", "--help"], check=True, capture_output=True, text=True
    )
    assert "Which organ" in taught.stdout
    # Tables need no more than what was installed.
    asked = subprocess.run(
        [str(command), "health", "--url", "127.0.0.1:1"], capture_output=True, text=True
    )
    assert (asked.returncode, asked.stderr) == (1, "")
    assert "unreachable" in asked.stdout
