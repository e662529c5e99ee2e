"""What the command shows: tables that fit programs in a pipe, colours on terminals alone."""

from __future__ import annotations

import json

import pytest

from organseg.contract import Verdict
from organseg_client.command.console import (
    Cell,
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
    warn,
)
from organseg_client.command.looks import colour_cell, organ_cell, verdict_cell

Capture = pytest.CaptureFixture[str]
ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_a_table_in_a_pipe_is_aligned_and_no_line_ends_in_blanks(capsys: Capture) -> None:
    print_table(("a", "long name", "n"), [("wide cell", "x", "7"), ("y", "", "12")], right=("n",))
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["a", "long", "name", "n"]
    assert set(rule) <= {"─", " "}
    assert [row.split() for row in rows] == [["wide", "cell", "x", "7"], ["y", "12"]]
    assert rows[0].index("7") == rows[1].index("12") + 1
    assert not any(line != line.rstrip() for line in (header, rule, *rows))


def test_nothing_is_cut_or_wrapped_in_a_pipe(capsys: Capture) -> None:
    words = "word " * 200
    print_table(("words",), [(words,)])
    print_line(words)
    say(words)
    shown = capsys.readouterr()
    assert shown.out.count(words.strip()) == 2
    assert shown.out.count("\n") == 4
    assert shown.err.splitlines()[0].strip() == words.strip()


def test_brackets_and_colons_of_a_text_are_shown_as_they_are(capsys: Capture) -> None:
    print_table(("[red]name[/]",), [("[bold]x[/bold] :smile:",)])
    print_line("[bold]x[/bold]")
    warn("[bold]x[/bold]")
    shown = capsys.readouterr()
    assert "[bold]x[/bold] :smile:" in shown.out
    assert "[red]name[/]" in shown.out
    assert shown.err == "organseg-client: [bold]x[/bold]\n"


def test_colours_are_for_terminals_and_not_where_no_color_is_set(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> str:
        print_table(("organ",), [(organ_cell(1),), (verdict_cell(Verdict.SEGMENTED),)])
        return capsys.readouterr().out

    assert ESCAPE not in shown()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown()


def test_json_is_one_document_that_any_terminal_can_carry(capsys: Capture) -> None:
    print_json({"words": "größer"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"words": "größer"}
    assert shown.isascii()


def test_a_progress_bar_is_silent_where_nobody_watches(capsys: Capture) -> None:
    with progress_bar("asking") as show:
        show(1, 2, "1 row/s")
        show(2, 2, "")
    assert capsys.readouterr() == ("", "")


def test_cells_know_their_looks() -> None:
    assert organ_cell(1).text == "liver"
    assert colour_cell((221, 0, 61)) == Cell("#dd003d", "rgb(221,0,61)")
