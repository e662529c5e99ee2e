"""Where the shared test scans lie; tests that use them skip where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

SCANS = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_scans = pytest.mark.skipif(
    not SCANS.is_dir(), reason="the shared test scans (../shared/data) are not on this machine"
)
