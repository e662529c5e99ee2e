"""A report as Markdown: everything but the plots, whose numbers stand in the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.report.blocks import Section, Table, Text


def render_markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole file: its head, one line of what was measured, and the sections."""
    lines = [f"# {title}", "", lead, ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            if isinstance(block, Text):
                lines += [block.content, ""]
            elif isinstance(block, Table):
                lines += [f"{block.caption}:", "", *table_lines(block), ""]
    return "\n".join(lines)


def table_lines(table: Table) -> Iterator[str]:
    """The lines of one table, without its caption."""
    yield _row(table.head)
    numbers = len(table.head) - table.text_columns
    yield _row(("---",) * table.text_columns + ("--:",) * numbers)
    for row in table.rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
