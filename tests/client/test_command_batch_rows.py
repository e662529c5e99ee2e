"""The CSV of a batch: what is read, and what is refused before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from organseg_client import InvalidInputError
from organseg_client.command.batch.rows import Row, read_rows


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "cases.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_have_their_cells_and_are_known_by_id_or_number(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "id,image,question,window,slice\n"
        'case-1,a.npy,"Where are liver, spleen and stomach?",-160 240.5,\n'
        "\n"
        ",scan.nii.gz,Where is the aorta?,,40\n",
    )
    question = "Where are liver, spleen and stomach?"
    assert read_rows(path).rows == (
        Row("case-1", 1, "a.npy", question, (-160.0, 240.5), None),
        Row("2", 2, "scan.nii.gz", "Where is the aorta?", None, 40),
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_save_is_read(
    delimiter: str, encoding: str, end: str, tmp_path: Path
) -> None:
    lines = [["Image", "Question"], ["größe.png", '"Which one, then?"']]
    path = write(tmp_path, end.join(delimiter.join(line) for line in lines) + end, encoding)
    (row,) = read_rows(path).rows
    assert (row.image, row.question) == ("größe.png", "Which one, then?")


def test_columns_that_mean_nothing_are_named(tmp_path: Path) -> None:
    read = read_rows(write(tmp_path, "image,question,ward,windw\na.png,Where?,7,1 2\n"))
    assert read.ignored_columns == ("ward", "windw")
    assert read.rows[0].window is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("image,text\na.png,b\n", "got image, text"),
        ("image,question,image\n", "the column image once"),
        ("image,question\n", "got none"),
        ("image,question\na.png\n", "wanted 2 cells in cases.csv, line 2, got 1"),
        ("image,question\na.png,Where, then?\n", "got 3"),
        ("image,question\na.png, \n", "the cell question filled in cases.csv, line 2"),
        ("image,question,slice\na.png,b,last\n", "a whole number as the slice"),
        ("image,question,window\na.png,b,5\n", "two numbers as the window"),
        ("image,question,window\na.png,b,5 5\n", "two numbers as the window"),
        ("image,question,window\na.png,b,nan 5\n", "two numbers as the window"),
        ("image,question,id\na.png,b,x\nb.png,b,x\n", "got 'x' in rows 1 and 2"),
        ("image,question,id\na.png,b,2\nb.png,b,\n", "got '2' in rows 1 and 2"),
        ("image,question,id\na.png,b," + "x" * 101 + "\n", "at most 100"),
        ('image,question\na.png,"b\n', "to be a CSV"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_rows(write(tmp_path, text))
    assert words in str(caught.value)
    assert str(caught.value).startswith("wanted ")


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        read_rows(write(tmp_path, "image,question\nä.png,ö\n", "latin-1"))
    with pytest.raises(InvalidInputError, match="No such file"):
        read_rows(tmp_path / "none.csv")
