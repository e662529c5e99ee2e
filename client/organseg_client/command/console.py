"""What is shown to people: tables and words in colour on a terminal, plain text in a pipe.

Answers go to stdout, everything else to stderr. Colours are those of `rich`: none where the
output is no terminal or `NO_COLOR` is set. rich is imported when something is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Cell", "print_json", "print_line", "print_table", "progress_bar", "say", "warn"]

_PIPE_WIDTH = 10_000
"""Columns of an output that is no terminal: no line is wrapped for a program that reads it."""


@dataclass(frozen=True)
class Cell:
    """A text of a table with its looks."""

    text: str
    """What it says."""
    style: str = ""
    """A style of rich, `bold green` or `rgb(221,60,60)`; empty for none."""


def print_json(document: Any) -> None:
    """One JSON document on stdout. ASCII, so that any terminal and pipe can carry it."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_line(words: str, style: str = "") -> None:
    """A line on stdout."""
    _console().print(words, style=style or None, soft_wrap=True)


def say(words: str, style: str = "") -> None:
    """A line on stderr: what happens, for the person who waits."""
    _console(stderr=True).print(words, style=style or None, soft_wrap=True)


def warn(words: str) -> None:
    """A line on stderr that says whose it is: what went wrong."""
    from rich.text import Text

    line = Text.assemble(("organseg-client:", "bold red"), " ", words)
    _console(stderr=True).print(line, soft_wrap=True)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str | Cell]], right: Sequence[str] = ()
) -> None:
    """A table on stdout; the columns named in `right` are aligned to the right.

    In a pipe no cell is cut or wrapped, and no line ends in blanks.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        cells = [Cell(cell) if isinstance(cell, str) else cell for cell in row]
        table.add_row(*(Text(cell.text, cell.style) for cell in cells))
    console = _console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextmanager
def progress_bar(words: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr while the block runs; nothing where stderr is no terminal.

    Gives a function to call with how many steps are done, of how many, and a note to show behind
    the bar.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = _console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(words, total=None, note="")

        def show(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield show


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # No markup and no highlighting: brackets and numbers of a question are shown as they are.
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(
            file=sys.stderr if stderr else sys.stdout,
            markup=False,
            highlight=False,
            emoji=False,
            width=_PIPE_WIDTH,
        )
    return console
