"""What the process of a stage reads at its start: there are ten, and each pays for itself."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
from organseg.serving import triton_later, triton_model, triton_stream
print(*sorted(sys.modules.keys() & {"grpc", "google.protobuf", "tritonclient", "torch"}))
"""


def test_what_stages_share_brings_neither_grpc_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
