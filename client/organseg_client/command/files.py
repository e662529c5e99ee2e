"""Files that a command writes because its user asked for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from organseg.errors import InvalidInputError

__all__ = ["check_label_name", "make_folder", "write_file"]


def check_label_name(path: Path, option: str) -> None:
    """Raises `InvalidInputError` where labels cannot be written under such a name."""
    if path.suffix.lower() != ".png":
        raise InvalidInputError(
            f"wanted a file name ending in .png for {option}, got another; labels need that format"
        )


def make_folder(path: Path) -> None:
    """Makes a folder and those above it where they are missing.

    Raises `InvalidInputError` where that is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"wanted the folder {path}, got: {error.strerror}; choose a writable place"
        ) from error


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write(path)`; raises `InvalidInputError` where the file cannot be written."""
    try:
        write(path)
    # ValueError and KeyError are Pillow's for a suffix that names no format it writes.
    except (OSError, ValueError, KeyError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidInputError(
            f"wanted to write {path}, got: {words}; choose a writable place and a name ending "
            "in .png"
        ) from error
