"""Renders the records of `docs/results/scaling` into docs/scaling.md, between two marks each.

`check-PRESET.json` is what `scaling check --json` wrote, `plan-NAME.json` what `scaling plan
--json` wrote; where there is none the page says with which command to make it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.scaling.tables import check_text, plan_text
from benchmarks.scaling_command import read_record
from benchmarks.workload import REPO_ROOT

PAGE = REPO_ROOT / "docs" / "scaling.md"
"""The page."""
RESULTS = REPO_ROOT / "docs" / "results" / "scaling"
"""Where the records lie."""
_MISSING = "*Not measured yet: the commands at the top of this page make the record and render it.*"
_PARTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"check": check_text, "plan": plan_text}


def main(*, check: bool, page: Path = PAGE, results: Path = RESULTS) -> int:
    """Renders the page, or checks it; gives the exit status. Raises `RecordError`."""
    old = page.read_text(encoding="utf-8")
    new = old
    for part in _PARTS:
        begin, end = marks(part)
        before, found, rest = new.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            print(f"wanted the marks {begin} and {end} in {page.name}", file=sys.stderr)
            return 1
        new = f"{before}{begin}\n{rendered(part, results)}\n{end}{after}"
    if check:
        if old != new:
            print(
                f"{page.name} is out of date: run python -m benchmarks scaling page",
                file=sys.stderr,
            )
        return int(old != new)
    page.write_text(new, encoding="utf-8")
    return 0


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind a part of the page."""
    return f"<!-- scaling {part}: python -m benchmarks scaling page -->", f"<!-- end of {part} -->"


def rendered(part: str, results: Path) -> str:
    """All records of one part, in the order of their names."""
    paths = sorted(results.glob(f"{part}-*.json"))
    return "\n\n".join(_PARTS[part](read_record(path)) for path in paths) if paths else _MISSING
