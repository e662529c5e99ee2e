"""A report as one HTML page that asks nothing of a network: style and plots lie inside it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from benchmarks.report.blocks import Block, Plot, Section, Table, Text
from benchmarks.report.svg import inline_svg, plot_style

REACHED = "reached"
"""A cell that begins so is shown as good news."""
MISSED = "missed"
"""And one that begins so as bad."""

_STYLE = Path(__file__).with_name("page.css")
# HTML in a record is shown as it is written, and addresses in it are not made links.
_LINE = MarkdownIt("js-default", {"linkify": False})
_WIDTH_OF_AN_INCH_REM = 7.2


def render_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole file.

    Args:
        title: its head.
        lead: one line of Markdown below it.
        sections: in their order.
    """
    anchors = [_anchor(section.title) for section in sections]
    links = "".join(
        f'<li><a href="#{anchor}">{html.escape(section.title)}</a></li>'
        for section, anchor in zip(sections, anchors, strict=True)
    )
    with plot_style():
        parts = [
            f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">'
            f"{html.escape(section.title)}</h2>\n{''.join(_blocks(section.blocks, anchor))}"
            "</section>\n"
            for section, anchor in zip(sections, anchors, strict=True)
        ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#report">Skip to the report</a>\n'
        f"<header><h1>{html.escape(title)}</h1>\n<p>{_line(lead)}</p>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n'
        f'<main id="report">\n{"".join(parts)}</main>\n'
        "<footer><p>Rendered from records by <code>python -m benchmarks report</code>; every "
        "number of a plot stands in a table beside it.</p></footer>\n</body>\n</html>\n"
    )


def _blocks(blocks: Sequence[Block], anchor: str) -> Iterator[str]:
    for place, block in enumerate(blocks):
        if isinstance(block, Text):
            yield f"<p>{_line(block.content)}</p>\n"
        elif isinstance(block, Table):
            yield _table(block)
        else:
            yield _plot(block, f"{anchor}-{place}")


def _plot(plot: Plot, name: str) -> str:
    figure = plot.draw()
    width = figure.get_figwidth() * _WIDTH_OF_AN_INCH_REM
    return (
        f'<figure class="plot"><figcaption>{html.escape(plot.title)}</figcaption>'
        f'<div><div style="max-width:{width:.1f}rem;margin:0 auto">'
        f"{inline_svg(figure, name, plot.title, plot.alt)}</div></div></figure>\n"
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{"" if place < table.text_columns else " class=number"}>{_line(cell)}</th>'
        for place, cell in enumerate(table.head)
    )
    rows = "".join(f"<tr>{''.join(_cells(row, table.text_columns))}</tr>\n" for row in table.rows)
    # What scrolls sideways is reached by keyboard too.
    label = html.escape(re.sub(r"[*`]", "", table.caption), quote=True)
    return (
        f'<div class="rows" role="region" aria-label="{label}" tabindex="0">'
        f"<table><caption>{_line(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def _cells(row: Sequence[str], text_columns: int) -> Iterator[str]:
    for place, cell in enumerate(row):
        if place == 0:
            kind = "" if text_columns else ' class="number"'
            yield f'<th scope="row"{kind}>{_line(cell)}</th>'
        elif place < text_columns:
            verdict = next((word for word in (REACHED, MISSED) if cell.startswith(word)), "")
            yield f'<td class="word {verdict}">{_line(cell)}</td>'
        else:
            yield f'<td class="number">{_line(cell)}</td>'


def _line(text: str) -> str:
    return str(_LINE.renderInline(text))


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
