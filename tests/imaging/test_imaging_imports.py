from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_REPO_ROOT = Path(__file__).resolve().parents[2]
_IMPORT_ALL = """
import importlib, pkgutil, sys
import organseg.imaging
for module in pkgutil.iter_modules(organseg.imaging.__path__, "organseg.imaging."):
    importlib.import_module(module.name)
heavy = {"torch", "nibabel", "pydicom", "scipy", "skimage", "tritonclient", "transformers"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_whole_room_imports_with_numpy_and_pillow_alone():
    shown = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL],
        capture_output=True,
        text=True,
        check=True,
        cwd=_REPO_ROOT,
    )
    assert shown.stdout.strip() == "[]"
