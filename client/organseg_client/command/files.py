"""Files that a command writes because its user asked for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError

__all__ = ["check_label_name", "check_place", "make_folder", "write_file", "write_picture"]


def check_label_name(path: Path, option: str) -> None:
    """Raises `InvalidInputError` where labels cannot be written under such a name."""
    if path.suffix.lower() != ".png":
        raise InvalidInputError(
            f"wanted a file name ending in .png for {option}, got another; labels need that format"
        )


def check_place(path: Path) -> None:
    """Raises `InvalidInputError` where no file of this name could be made or written over."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInputError(
            f"wanted to write {path}, got "
            f"{'a folder of that name' if path.is_dir() else 'no folder there to write in'}; "
            "choose a writable place"
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


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write(path)`; raises `InvalidInputError` where the file cannot be written."""
    try:
        write(path)
    except OSError as error:
        raise InvalidInputError(
            f"wanted to write {path}, got: {error.strerror or error}; choose a writable place"
        ) from error


def write_picture(path: Path, write: Callable[[Path], Any]) -> None:
    """As `write_file`, for pictures: Pillow refuses a name that stands for no format it writes."""
    try:
        write_file(path, write)
    except (ValueError, KeyError) as error:
        # Ours are ValueErrors, too.
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"wanted to write {path}, got: {error}; choose a name ending in .png"
        ) from error
