"""Asking the rows of a batch: a server that goes away ends it, a row's own fault does not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from client_fakes import FakeTransport
from PIL import Image

from organseg.errors import OrganSegError
from organseg_client import (
    ConnectionOptions,
    InvalidInputError,
    OrganSegClient,
    RetryPolicy,
    ServerUnreachableError,
)
from organseg_client.command.batch.asking import Pictures, ask_rows, file_stem
from organseg_client.command.batch.journal import Journal
from organseg_client.command.batch.rows import Row

ONCE = ConnectionOptions(retry=RetryPolicy(attempts=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.full((20, 30), 90, dtype=np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def rows_of(*images: str) -> list[Row]:
    return [
        Row(str(number), number, image, "Which organ stores bile?", None, None)
        for number, image in enumerate(images, start=1)
    ]


def ask(
    transport: FakeTransport, folder: Path, rows: list[Row], pictures: Path | None = None
) -> tuple[OrganSegError | None, list[str], list[int]]:
    """The error that ended it, the outcomes in the journal, and what progress was shown."""
    shown: list[int] = []
    by_id = {row.id: row for row in rows}
    with (
        OrganSegClient(transport=transport, options=ONCE) as client,
        Journal(folder / "out.jsonl", by_id, retry_failed=False) as journal,
    ):
        error = ask_rows(
            client,
            rows,
            journal,
            images=folder,
            pictures=Pictures(pictures, pictures),
            concurrency=2,
            give_up_after=3,
            show=shown.append,
        )
        return error, [entry.outcome for entry in journal.entries.values()], shown


def test_a_server_that_goes_away_ends_it_and_leaves_the_rest(folder: Path) -> None:
    transport = FakeTransport(failure=ServerUnreachableError("wanted a server"))
    error, outcomes, shown = ask(transport, folder, rows_of(*["a.png"] * 9))
    assert isinstance(error, ServerUnreachableError)
    assert outcomes == ["ServerUnreachableError"] * 3
    assert shown == [1, 2, 3]


def test_rows_that_fail_by_their_own_fault_never_end_it(folder: Path) -> None:
    error, outcomes, shown = ask(FakeTransport(), folder, rows_of(*["none.png"] * 5, "a.png"))
    assert error is None
    assert Counter(outcomes) == {"ImageError": 5, "segmented": 1}
    assert shown == [1, 2, 3, 4, 5, 6]


def test_a_picture_that_cannot_be_written_ends_it_with_the_rows_before_kept(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="wanted to write"):
        ask(FakeTransport(), folder, rows_of("none.png", "a.png"), folder / "no" / "such")
    assert (folder / "out.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("row_id", ["a", "case-7_b", "../x", "a/b", "a b", "ä", ".", "~", "%2F"])
def test_an_id_names_a_file_in_the_folder_and_no_two_share_a_name(row_id: str) -> None:
    name = file_stem(row_id)
    assert not set(name) & set("/\\.~ ")
    assert name.isascii()
    assert (name == row_id) == row_id.replace("-", "").replace("_", "").isalnum() * row_id.isascii()
