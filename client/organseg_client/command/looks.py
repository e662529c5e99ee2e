"""How organs, verdicts and states look in the tables of a terminal."""

from __future__ import annotations

from organseg.contract import Verdict
from organseg.organs import organ_by_id
from organseg_client.command.console import Cell

__all__ = ["colour_cell", "organ_cell", "verdict_cell"]

_VERDICT_STYLES = {
    Verdict.SEGMENTED: "green",
    Verdict.ABSENT_IN_IMAGE: "yellow",
    Verdict.OUT_OF_SCOPE: "dim",
}


def verdict_cell(verdict: Verdict) -> Cell:
    """A verdict, as JSON names it."""
    return Cell(verdict.value, _VERDICT_STYLES[verdict])


def organ_cell(organ_id: int) -> Cell:
    """An organ's name in its overlay colour; `organ_id` is 1 to 13, or 14 for none."""
    organ = organ_by_id(organ_id)
    return Cell(organ.name, _style(organ.color_rgb))


def colour_cell(color_rgb: tuple[int, int, int]) -> Cell:
    """A colour as `#rrggbb`, shown in itself."""
    return Cell("#{:02x}{:02x}{:02x}".format(*color_rgb), _style(color_rgb))


def _style(color_rgb: tuple[int, int, int]) -> str:
    return "rgb({},{},{})".format(*color_rgb)
