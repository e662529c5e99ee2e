"""The journal of a batch: what a later run finds, whatever ended the earlier one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from organseg_client import ImageError, InvalidInputError
from organseg_client.command.batch.journal import Entry, Journal, RowStatus
from organseg_client.command.batch.rows import Row

ROWS = {
    name: Row(name, number, f"{name}.png", "Where is the liver?", None, None)
    for number, name in enumerate("abc", start=1)
}
ANSWER = {"verdict": "segmented"}
ANSWERED = Entry(RowStatus.ANSWERED, "segmented")
FAILED = Entry(RowStatus.FAILED, "ImageError")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal in which `a` was answered and `b` failed."""
    path = tmp_path / "out.jsonl"
    with Journal(path, ROWS, retry_failed=False) as journal:
        journal.write_answer(ROWS["a"], ANSWER, {"mask": "masks/a.png"})
        journal.write_error(ROWS["b"], ImageError("wanted an image"), "request-7")
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def reopened(path: Path, *, retry_failed: bool = False) -> dict[str, Entry]:
    with Journal(path, ROWS, retry_failed=retry_failed) as journal:
        return dict(journal.entries)


def test_a_line_has_the_row_and_what_came_of_it(path: Path) -> None:
    asked = {"question": "Where is the liver?", "window": None, "slice": None}
    assert lines_of(path) == [
        {
            **{"id": "a", "row": 1, "image": "a.png", **asked, "status": "answered"},
            **{"answer": ANSWER, "files": {"mask": "masks/a.png"}},
        },
        {
            **{"id": "b", "row": 2, "image": "b.png", **asked, "status": "failed"},
            "error": {
                "class": "ImageError",
                "message": "wanted an image",
                "request_id": "request-7",
            },
        },
    ]


def test_finished_rows_are_found_again_and_the_file_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    assert reopened(path) == {"a": ANSWERED, "b": FAILED}
    assert path.read_bytes() == before


def test_a_torn_last_line_is_taken_off_wherever_it_was_torn(path: Path) -> None:
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    for length in range(len(second)):
        path.write_bytes(first + second[:length])
        assert reopened(path) == {"a": ANSWERED}
        assert path.read_bytes() == first


def test_a_mended_journal_goes_on_with_whole_lines(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with Journal(path, ROWS, retry_failed=False) as journal:
        journal.write_answer(ROWS["b"], ANSWER, {})
        journal.write_answer(ROWS["c"], ANSWER, {})
        assert journal.entries == dict.fromkeys("abc", ANSWERED)
    assert [line["id"] for line in lines_of(path)] == ["a", "b", "c"]


def test_failed_rows_leave_when_they_are_to_be_asked_again(path: Path) -> None:
    first = path.read_bytes().splitlines(keepends=True)[0]
    with Journal(path, ROWS, retry_failed=True) as journal:
        assert journal.entries == {"a": ANSWERED}
        assert path.read_bytes() == first
        journal.write_answer(ROWS["b"], ANSWER, {})
    assert [line["status"] for line in lines_of(path)] == ["answered", "answered"]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("rows", [{"a": ROWS["a"]}, {**ROWS, "b": Row("b", 2, "x", "y", None, 3)}])
def test_a_failed_row_that_the_csv_mended_or_dropped_leaves(
    rows: dict[str, Row], path: Path
) -> None:
    with Journal(path, rows, retry_failed=False) as journal:
        assert journal.entries == {"a": ANSWERED}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"b": ROWS["b"]}, "a row 'a' that the CSV lacks"),
        ({**ROWS, "a": Row("a", 1, "a.png", "Where?", None, None)}, "another image or question"),
        ({**ROWS, "a": Row("a", 1, "a.png", "Where is the liver?", (0, 1), None)}, "another"),
    ],
)
def test_answers_to_other_rows_are_never_mixed_in(
    rows: dict[str, Row], words: str, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match=words):
        Journal(path, rows, retry_failed=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"image,question\na.png,b\n", b"notes without an end", b"{}\n", b"[1]\n", b'{"id": 1}\n'],
)
def test_somebody_elses_file_is_refused_and_untouched(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="choose another file for --out"):
        Journal(path, ROWS, retry_failed=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("retry_failed", [False, True])
def test_one_process_writes_a_journal_at_a_time(retry_failed: bool, path: Path) -> None:
    with (
        Journal(path, ROWS, retry_failed=retry_failed),
        pytest.raises(InvalidInputError, match="another process is writing it"),
    ):
        Journal(path, ROWS, retry_failed=False)
    assert "a" in reopened(path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="No such file or directory"):
        Journal(tmp_path / "none" / "out.jsonl", ROWS, retry_failed=False)
