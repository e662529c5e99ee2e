"""The rows of a batch: a CSV of images and questions, read and checked before any is asked."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError
from organseg.imaging.windowing import check_window

__all__ = ["OPTIONAL_COLUMNS", "REQUIRED_COLUMNS", "Row", "RowsFile", "read_rows"]

REQUIRED_COLUMNS = ("image", "question")
OPTIONAL_COLUMNS = ("id", "window", "slice")

_LONGEST_ID = 100
"""Characters; ids name files, too."""

_DELIMITERS = (",", ";", "\t")
"""What spreadsheets write between cells, by country."""


@dataclass(frozen=True)
class Row:
    """One image and one question."""

    id: str
    """What the row is known by: its `id` cell, or its number."""
    number: int
    """1 for the first row below the header."""
    image: str
    """The image's path, as the CSV has it."""
    question: str
    """One sentence in plain words."""
    window: tuple[float, float] | None
    """(low, high) of the intensities that become black and white; None for the image's own."""
    slice_index: int | None
    """Which axial slice of a volume, 0 at the feet."""

    def asked(self) -> dict[str, Any]:
        """What is asked, in plain values: two rows that ask the same have the same."""
        return {
            "image": self.image,
            "question": self.question,
            "window": None if self.window is None else list(self.window),
            "slice": self.slice_index,
        }


@dataclass(frozen=True)
class RowsFile:
    """A CSV as it was read."""

    rows: tuple[Row, ...]
    """Its rows, in order; each id once."""
    ignored_columns: tuple[str, ...]
    """Columns that mean nothing here."""


def read_rows(path: Path) -> RowsFile:
    """The rows of a CSV with a header; commas, semicolons or tabs between cells, UTF-8.

    Raises `InvalidInputError`, with the line, for a file that cannot be read, lacks a column, or
    has a cell that does not fit: all of it is checked before anything is asked.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(header_line), strict=True)
            return _read(path.name, reader)
    except OSError as error:
        raise InvalidInputError(
            f"wanted a CSV at {path}, got: {error.strerror}; check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        words = "bytes that are not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise InvalidInputError(
            f"wanted {path.name} to be a CSV in UTF-8, got: {words}; save it as CSV UTF-8"
        ) from error


def _delimiter(header_line: str) -> str:
    return max(_DELIMITERS, key=header_line.count)


def _read(name: str, reader: Any) -> RowsFile:
    header = [cell.strip().lower() for cell in next(reader, [])]
    _check_header(name, header)
    rows = tuple(_rows(name, reader, header))
    if not rows:
        raise InvalidInputError(f"wanted rows below the header of {name}, got none; add some")
    first_with: dict[str, int] = {}
    for row in rows:
        other = first_with.setdefault(row.id, row.number)
        if other != row.number:
            raise InvalidInputError(
                f"wanted every id of {name} once, got {row.id!r} in rows {other} and "
                f"{row.number}; give each row its own"
            )
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    return RowsFile(rows, tuple(column for column in header if column not in known))


def _check_header(name: str, header: list[str]) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        raise InvalidInputError(
            f"wanted the columns {' and '.join(REQUIRED_COLUMNS)} in the header of {name}, got "
            f"{', '.join(header) or 'an empty file'}; name the columns in the first line "
            f"(optional: {', '.join(OPTIONAL_COLUMNS)})"
        )
    for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if header.count(column) > 1:
            raise InvalidInputError(
                f"wanted the column {column} once in {name}, got it {header.count(column)} times; "
                "rename the others"
            )


def _rows(name: str, reader: Any, header: list[str]) -> Iterator[Row]:
    number = 0
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        number += 1
        place = f"{name}, line {reader.line_num}"
        if len(cells) != len(header):
            raise InvalidInputError(
                f"wanted {len(header)} cells in {place}, got {len(cells)}; put a cell that holds "
                "a comma in double quotes"
            )
        values = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
        for column in REQUIRED_COLUMNS:
            if not values[column]:
                raise InvalidInputError(
                    f"wanted the cell {column} filled in {place}, got an empty one; fill it"
                )
        row_id = values.get("id", "") or str(number)
        if len(row_id) > _LONGEST_ID or not row_id.isprintable():
            raise InvalidInputError(
                f"wanted an id of at most {_LONGEST_ID} printable characters in {place}, got "
                f"{len(row_id)} characters; shorten it"
            )
        yield Row(
            id=row_id,
            number=number,
            image=values["image"],
            question=values["question"],
            window=_window(values.get("window", ""), place),
            slice_index=_slice_index(values.get("slice", ""), place),
        )


def _window(cell: str, place: str) -> tuple[float, float] | None:
    if not cell:
        return None
    try:
        return check_window([float(number) for number in cell.split()])
    # WindowError is a ValueError, too.
    except ValueError as error:
        raise InvalidInputError(
            f"wanted two numbers as the window in {place}, got {cell!r}; write the low and the "
            "high one with a blank between, such as -160 240"
        ) from error


def _slice_index(cell: str, place: str) -> int | None:
    if not cell:
        return None
    try:
        return int(cell)
    except ValueError as error:
        raise InvalidInputError(
            f"wanted a whole number as the slice in {place}, got {cell!r}; slices count from 0 "
            "at the feet"
        ) from error
