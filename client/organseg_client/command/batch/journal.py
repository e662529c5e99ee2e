"""The journal of a batch: its JSONL output, one line a finished row, from which it goes on.

Each line goes to the operating system in one piece when its row is finished, so that whatever
ends the process (a kill, too) loses only the rows that were being asked. At the next start the
finished rows are read back; a last line that was torn is taken off. One process writes a journal
at a time.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from organseg.errors import InvalidInputError
from organseg_client.command.batch.rows import Row

__all__ = ["Entry", "Journal", "RowStatus"]

_BEGINNING = b'{"id": '
"""How every line begins; a torn line that does not is somebody else's file."""


class RowStatus(Enum):
    """What came of a row."""

    ANSWERED = "answered"
    """The server answered; the line has the answer."""
    FAILED = "failed"
    """There is no answer; the line has the error."""


@dataclass(frozen=True)
class Entry:
    """What a finished row came to, in short."""

    status: RowStatus
    """Whether it was answered."""
    outcome: str
    """The answer's verdict, or the class of the error."""


class Journal:
    """An open journal. `entries` has what is in it, by the rows' ids.

    Opening reads what is there, takes off a torn last line, and leaves out failed rows that are
    to be asked again: all of them with `retry_failed`, and those that the CSV has changed or
    dropped since. Use it as a context manager.

    Raises `InvalidInputError` for a file that is no journal or one of other rows, that cannot
    be written, or that another process writes.
    """

    def __init__(self, path: Path, rows: Mapping[str, Row], *, retry_failed: bool) -> None:
        self._path = path
        self._files: list[BinaryIO] = []
        self.entries: dict[str, Entry] = {}
        try:
            self._open(rows, retry_failed)
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the writing, and lets another process write."""
        while self._files:
            self._files.pop().close()

    def write_answer(self, row: Row, answer: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Adds a row with its answer and the files that were written for it, by kind."""
        self._write(
            row,
            Entry(RowStatus.ANSWERED, str(answer["verdict"])),
            {"answer": answer, "files": dict(files)},
        )

    def write_error(self, row: Row, error: Exception, request_id: str) -> None:
        """Adds a row with the reason why it has no answer."""
        kind = type(error).__name__
        words = {"class": kind, "message": str(error), "request_id": request_id}
        self._write(row, Entry(RowStatus.FAILED, kind), {"error": words})

    def _write(self, row: Row, entry: Entry, rest: Mapping[str, Any]) -> None:
        line = json.dumps(
            {
                "id": row.id,
                "row": row.number,
                **row.asked(),
                "status": entry.status.value,
                **rest,
            },
            ensure_ascii=False,
        )
        try:
            self._files[-1].write(line.encode() + b"\n")
            self._files[-1].flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.entries[row.id] = entry

    def _open(self, rows: Mapping[str, Row], retry_failed: bool) -> None:
        file = self._path.open("a+b")
        self._files.append(file)
        self._lock(file)
        # Another process may have put a new file in its place before it let go of the lock.
        if not os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        file.seek(0)
        kept: list[tuple[int, int]] = []
        start, drops = 0, False
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                self._check_torn(line)
                file.truncate(start)
                break
            entry = self._entry(number, line, rows, retry_failed)
            if entry is None:
                drops = True
            else:
                kept.append((start, len(line)))
            start += len(line)
        if drops:
            self._replace(file, kept)

    def _entry(
        self, number: int, line: bytes, rows: Mapping[str, Row], retry_failed: bool
    ) -> Entry | None:
        """Notes the line's entry and gives it; None for one that is to be asked again."""
        try:
            values = json.loads(line)
            row_id = values["id"]
            status = RowStatus(values["status"])
            answered = status is RowStatus.ANSWERED
            outcome = values["answer"]["verdict"] if answered else values["error"]["class"]
            row = rows.get(row_id)
            is_same = row is not None and all(
                values[name] == value for name, value in row.asked().items()
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(
                f"wanted {self._path} to hold answers of `organseg-client batch`, got something "
                f"else in line {number}; choose another file for --out"
            ) from error
        if not answered and (retry_failed or not is_same):
            return None
        if not is_same:
            raise InvalidInputError(
                f"wanted {self._path} to hold answers to the rows of this CSV, got in line "
                f"{number} the answer to a row {row_id!r} that the CSV "
                f"{'lacks' if row is None else 'has with another image or question'}; choose "
                "another file for --out, or put the row back (rows without an id are known by "
                "their place)"
            )
        entry = Entry(status, outcome)
        self.entries[row_id] = entry
        return entry

    def _check_torn(self, line: bytes) -> None:
        if not (line.startswith(_BEGINNING) or _BEGINNING.startswith(line)):
            raise InvalidInputError(
                f"wanted {self._path} to hold answers of `organseg-client batch`, got a last line "
                "of something else; choose another file for --out"
            )

    def _replace(self, file: BinaryIO, kept: list[tuple[int, int]]) -> None:
        """Puts a file of the kept lines (offset and length) in the place of this one, at once."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            new = beside.open("w+b")
            self._files.append(new)
            self._lock(new)
            for start, length in kept:
                file.seek(start)
                new.write(file.read(length))
            new.flush()
            os.fsync(new.fileno())
            os.replace(beside, self._path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def _lock(self, file: BinaryIO) -> None:
        try:
            _locker()(file.fileno())
        except BlockingIOError as error:
            raise InvalidInputError(
                f"wanted to write {self._path}, another process is writing it; wait for that one, "
                "or choose another file for --out"
            ) from error

    def _unwritable(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(
            f"wanted to write {self._path}, got: {error.strerror}; make room or choose a writable "
            "place, then run the same command again: finished rows are kept"
        )


def _locker() -> Callable[[int], None]:
    """What locks a file for this process; nothing where the platform has no such lock."""
    try:
        import fcntl
    except ImportError:
        return lambda descriptor: None
    return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
