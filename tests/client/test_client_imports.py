"""The client stays light: what its imports bring in, seen from a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "segment_anything",
    "onnx",
    "onnxruntime",
    "openvino",
    "scipy",
    "skimage",
    "matplotlib",
    "nibabel",
    "pydicom",
    "highdicom",
    "rich",
    "pytriton",
    "starlette",
    "uvicorn",
}


def imported_by(statement: str) -> set[str]:
    """Top-level names of all modules that a statement brings into a fresh interpreter."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        "from organseg_client import *",
        "import organseg_client.command",
        "import organseg.contract",
        "import organseg.organs",
        "import organseg.errors",
        "import organseg.questions",
        "from organseg.imaging import *",
        "import organseg.imaging.decoding, organseg.imaging.volumes, organseg.imaging.overlay",
    ],
)
def test_nothing_heavy_comes_with(statement: str) -> None:
    brought = imported_by(statement)
    assert "organseg" in brought
    assert brought & HEAVY == set()


def test_a_client_with_its_own_transport_needs_no_grpc() -> None:
    assert imported_by("import organseg_client") & {"grpc", "tritonclient", "google"} == set()


def test_a_connection_brings_tritonclient_and_still_nothing_heavy() -> None:
    brought = imported_by(
        "from organseg_client import OrganSegClient\nOrganSegClient('localhost:1').close()"
    )
    assert "tritonclient" in brought
    assert brought & HEAVY == set()
