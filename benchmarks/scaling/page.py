"""Renders the records of `docs/results/scaling` into docs/scaling.md, between two marks each.

`check-PRESET.json` is what `scaling check --json` wrote, `plan-NAME.json` what `scaling plan
--json` wrote; where there is none the page says with which command to make it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import read_record
from benchmarks.scaling.tables import check_text, plan_text
from benchmarks.workload import REPO_ROOT
from organseg.evaluation.marked_block import MarkedBlock

PAGE = REPO_ROOT / "docs" / "scaling.md"
"""The page."""
RESULTS = REPO_ROOT / "docs" / "results" / "scaling"
"""Where the records lie."""
_MISSING = "*Not measured yet: the commands at the top of this page make the record and render it.*"
_PARTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"check": check_text, "plan": plan_text}


def main(*, check: bool, page: Path = PAGE, results: Path = RESULTS) -> int:
    """Renders the page, or checks it; gives the exit status. Raises `RecordError`."""
    status = 0
    for part in _PARTS:
        block = MarkedBlock(page, *marks(part), remedy="python -m benchmarks scaling page")
        status |= (block.check if check else block.write)(rendered(part, results))
    return status


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind a part of the page."""
    return f"<!-- scaling {part}: python -m benchmarks scaling page -->", f"<!-- end of {part} -->"


def rendered(part: str, results: Path) -> str:
    """All records of one part, in the order of their names."""
    paths = sorted(results.glob(f"{part}-*.json"))
    return "\n\n".join(_PARTS[part](read_record(path)) for path in paths) if paths else _MISSING
