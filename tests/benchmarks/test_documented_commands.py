"""Every `python -m benchmarks …` that a page or a help text shows is one that the parser takes."""

from __future__ import annotations

import re
import shlex

import pytest

from benchmarks.__main__ import build_parser
from benchmarks.report.sections import _PARTS
from benchmarks.workload import REPO_ROOT


def commands_of(text: str) -> list[list[str]]:
    """The arguments of each command at the beginning of a line, continued lines joined."""
    lines = re.findall(
        r"^ *python -m benchmarks +(\S.*)$", re.sub(r"\\\n *", "", text), re.MULTILINE
    )
    return [shlex.split(line, comments=True) for line in lines]


COMMANDS = {
    path.name: found
    for path in (REPO_ROOT / "README.md", *sorted((REPO_ROOT / "docs").glob("*.md")))
    if (found := commands_of(path.read_text(encoding="utf-8")))
}


@pytest.mark.parametrize("page", COMMANDS)
def test_a_page_shows_commands_that_exist(page: str) -> None:
    for arguments in COMMANDS[page]:
        assert build_parser().parse_args(arguments).run


def test_the_pages_about_benchmarks_show_commands() -> None:
    pages = {"benchmarks.md", "peers.md", "scaling.md", "deployment-table.md", "wire.md"}
    assert pages <= set(COMMANDS)


def test_the_examples_of_the_help_are_commands() -> None:
    parser = build_parser()
    examples = commands_of(parser.epilog or "")
    assert len(examples) > 10
    for arguments in examples:
        assert parser.parse_args(arguments).run


@pytest.mark.parametrize("part", _PARTS, ids=lambda part: part.title)
def test_what_a_report_says_to_run_is_a_command(part) -> None:  # type: ignore[no-untyped-def]
    (arguments,) = commands_of(part.command.format(preset="tiny"))
    assert build_parser().parse_args(arguments).run
