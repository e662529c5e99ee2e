"""The scoreboard: the README's tables of accuracy, rendered from evaluation records.

`docs/results/NAME/evaluation.json` is what `python -m organseg.evaluation` wrote; the tables
stand between two marks in README.md. `python -m organseg.evaluation.scoreboard` renders them,
`--check` fails while they differ from the records.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organseg.evaluation.marked_block import MarkedBlock

_ROOT = Path(__file__).resolve().parents[2]
RESULTS = _ROOT / "docs" / "results"
"""Where the records lie, one folder for each evaluation."""
README = _ROOT / "README.md"
_BEGIN = "<!-- scoreboard: python -m organseg.evaluation.scoreboard -->"
_END = "<!-- end of scoreboard -->"


@dataclass(frozen=True)
class _Column:
    """One evaluation."""

    folder: str
    """Its folder in `RESULTS`."""
    title: str
    """The column's head."""


_COLUMNS = (
    _Column("phantoms", "held-out phantoms"),
    _Column("ts_ct", "real CT"),
    _Column("ts_mr", "real MR"),
    _Column("paper_recipe", "phantoms, plain recipe"),
)

_RATES: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("organ choice", lambda record: record["answers"]["organ_choice"]),
    ("… asked by name", lambda record: record["answers"]["choice_by_name"]),
    ("… asked by knowledge", lambda record: record["answers"]["choice_by_knowledge"]),
    ("several organs, exactly right", lambda r: r["answers"]["multi_organ_exact_match"]),
    ("out of scope rejected (N-acc)", lambda record: record["rejection"]["scope_n_acc"]),
    ("organ questions not rejected (T-acc)", lambda r: r["rejection"]["scope_t_acc"]),
    ("absent organ rejected", lambda record: record["rejection"]["absence_n_acc"]),
    ("organ in the image offered", lambda record: record["rejection"]["absence_t_acc"]),
    ("**mean Dice, organ present**", lambda record: record["mean"]["dice_present"]),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders the tables, or checks them; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m organseg.evaluation.scoreboard", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    options = parser.parse_args(arguments)
    if not any(RESULTS.glob("*/evaluation.json")):
        print(f"wanted records in {RESULTS.name}/, found none: run make evaluate", file=sys.stderr)
        return 1
    block = MarkedBlock(README, _BEGIN, _END, remedy="make scoreboard")
    return (block.check if options.check else block.write)(render(RESULTS))


def render(results: Path) -> str:
    """Both tables and where they come from, as Markdown, from the records that are there.

    `results` holds one at least.
    """
    records = {
        column: json.loads(path.read_text(encoding="utf-8"))
        for column in _COLUMNS
        if (path := results / column.folder / "evaluation.json").is_file()
    }
    head = "| | " + " | ".join(column.title for column in records) + " |"
    rule = "| --- |" + " --: |" * len(records)
    rates = [
        f"| {name} | " + " | ".join(_share(rate(record)) for record in records.values()) + " |"
        for name, rate in _RATES
    ]
    organs = [
        f"| {row['name']} | "
        + " | ".join(_share(record["organs"][i]["dice_present"]) for record in records.values())
        + " |"
        for i, row in enumerate(next(iter(records.values()))["organs"])
    ]
    sources = [_source(column, record) for column, record in records.items()]
    return "\n".join(
        [
            head.replace("| |", "| % |", 1), rule, *rates,
            "", head.replace("| |", "| Dice in %, organ present |", 1), rule, *organs,
            "", *sources,
        ]
    )  # fmt: skip


def _share(interval: dict[str, Any]) -> str:
    return "–" if interval["value"] is None else f"{100 * interval['value']:.1f}"


def _source(column: _Column, record: dict[str, Any]) -> str:
    provenance = record["provenance"]
    return (
        f"- {column.title}: {record['questions']} questions, {record['patients']} patients, "
        f"{record['model']}; commit {provenance['commit']}; {provenance['machine']}; "
        f"`{provenance['command']}`"
    )


if __name__ == "__main__":
    sys.exit(main())
