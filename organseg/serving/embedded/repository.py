"""Whether a folder looks like a model repository, before the server tries to load it.

Triton serves an empty repository as ready, and waits ten minutes for a Python model whose
`model.py` is missing; both are found here at once.
"""

from __future__ import annotations

import re
from pathlib import Path

from organseg.errors import ServerStartError

_PYTHON_BACKEND = re.compile(r'^\s*backend\s*:\s*"python"', re.MULTILINE)
_REMEDY = "give the models/ folder of a release (`python -m export …` makes one)"


def check_model_repository(folder: Path) -> None:
    """Raises `ServerStartError` where the folder has no models or a model lacks a part."""
    models = sorted(path for path in _children(folder) if path.is_dir())
    if not models:
        raise ServerStartError(
            f"wanted models in {folder.name!r}, but there are none (one folder per model, with "
            f"config.pbtxt in it): {_REMEDY}"
        )
    for model in models:
        _check_model(model)


def _check_model(model: Path) -> None:
    try:
        config = (model / "config.pbtxt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ServerStartError(
            f"wanted a readable config.pbtxt in the model {model.name!r}, but there is none: "
            f"{_REMEDY}"
        ) from None
    versions = [path for path in model.iterdir() if path.is_dir() and path.name.isdigit()]
    if not versions:
        raise ServerStartError(
            f"wanted a version folder such as 1/ in the model {model.name!r}, but there is none: "
            f"{_REMEDY}"
        )
    if _PYTHON_BACKEND.search(config):
        for version in versions:
            if not (version / "model.py").is_file():
                raise ServerStartError(
                    f"wanted model.py in version {version.name} of the model {model.name!r}, but "
                    f"there is none: {_REMEDY}"
                )


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ServerStartError(
            f"wanted a folder of models, but {folder.name!r} cannot be read "
            f"({type(error).__name__}): {_REMEDY}"
        ) from None
