"""What a report is made of: sections of text, tables and plots, whatever they are written as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    content: str
    """Markdown of a line: `code`, **bold** and links."""


@dataclass(frozen=True)
class Table:
    """Rows under a head."""

    caption: str
    """What the rows are; Markdown of a line."""
    head: tuple[str, ...]
    """The columns' names, with their units."""
    rows: tuple[tuple[str, ...], ...]
    """As many cells in each as the head has."""
    text_columns: int = 1
    """So many columns in front hold words, the others numbers, which stand at the right."""


@dataclass(frozen=True)
class Plot:
    """A picture of what a table beside it says in numbers."""

    title: str
    """What is seen, in a few words."""
    alt: str
    """What is to be seen in it, for those who cannot."""
    draw: Callable[[], Figure]
    """Draws it; only the page with pictures calls it."""


Block = Text | Table | Plot


@dataclass(frozen=True)
class Section:
    """One part of the report."""

    title: str
    """Its head; no two in a report are the same."""
    blocks: tuple[Block, ...]
    """In the order in which they are read."""
