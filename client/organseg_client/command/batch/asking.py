"""Asks the rows of a batch that are not finished, and writes what comes of each to the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from organseg.errors import ImageError, OrganSegError
from organseg_client.client import OrganSegClient
from organseg_client.command.batch.journal import Journal
from organseg_client.command.batch.rows import Row
from organseg_client.command.exit_codes import ExitCode, exit_code_of
from organseg_client.command.files import write_picture
from organseg_client.outcome import SegmentRequest
from organseg_client.request import new_request_id
from organseg_client.result import SegmentationResult

__all__ = ["Pictures", "ask_rows", "file_stem"]


@dataclass(frozen=True)
class Pictures:
    """Which pictures are written for each answer; the folders exist."""

    masks: Path | None
    """Where label PNGs go; None for none."""
    overlays: Path | None
    """Where overlays go; None for none."""

    def write(self, row: Row, result: SegmentationResult) -> dict[str, str]:
        """Writes a row's pictures; gives their paths by kind.

        Raises `InvalidInputError` where one cannot be written, `ImageError` where the image
        cannot be decoded here.
        """
        name = f"{file_stem(row.id)}.png"
        written: dict[str, str] = {}
        if self.masks is not None:
            write_picture(self.masks / name, result.write_label_png)
            written["mask"] = str(self.masks / name)
        if self.overlays is not None:
            picture = result.overlay()
            write_picture(self.overlays / name, picture.save)
            written["overlay"] = str(self.overlays / name)
        return written


def file_stem(row_id: str) -> str:
    """A row's id as a file name: letters, digits, `-`, `_`; other signs as `%` and hex, as in URLs.

    Two ids never have the same one.
    """
    from urllib.parse import quote

    return quote(row_id, safe="").replace(".", "%2E").replace("~", "%7E")


def ask_rows(
    client: OrganSegClient,
    rows: Sequence[Row],
    journal: Journal,
    *,
    images: Path,
    pictures: Pictures,
    concurrency: int,
    give_up_after: int,
    show: Callable[[int], None],
) -> OrganSegError | None:
    """Asks every row, at most `concurrency` at once, and writes the journal in their order.

    `images` is the folder that relative paths start at; `show` is called with the number of rows
    that are done. A row's failure is written and the next row goes on; after `give_up_after` rows
    in a row that failed for reasons of the server (0: never), the rest is left and the last
    error given. Raises `InvalidInputError` where a file cannot be written.
    """
    outcomes = client.segment_many(_requests(rows, images), concurrency=concurrency)
    server_failures = 0
    try:
        for outcome, row in zip(outcomes, rows, strict=True):
            error = outcome.error
            if outcome.result is not None:
                try:
                    files = pictures.write(row, outcome.result)
                    journal.write_answer(row, outcome.result.to_dict(), files)
                except ImageError as unshown:
                    error = unshown
            if error is not None:
                journal.write_error(row, error, outcome.request.request_id or "")
            show(outcome.index + 1)
            is_servers = error is not None and exit_code_of(error) is not ExitCode.BAD_INPUT
            server_failures = server_failures + 1 if is_servers else 0
            if give_up_after and server_failures >= give_up_after:
                return error
    finally:
        # Calls that are under way end now, not when the garbage collector comes.
        outcomes.close()
    return None


def _requests(rows: Sequence[Row], images: Path) -> Iterator[SegmentRequest]:
    for row in rows:
        yield SegmentRequest(
            images / row.image,
            row.question,
            window=row.window,
            slice_index=row.slice_index,
            request_id=new_request_id(None),
        )
