"""The options of `organseg-client batch`, and what it shows at the end."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError, OrganSegError
from organseg_client.command.batch.asking import Pictures, ask_rows
from organseg_client.command.batch.journal import Journal, RowStatus
from organseg_client.command.batch.rows import OPTIONAL_COLUMNS, Row, read_rows
from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import (
    Cell,
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
    warn,
)
from organseg_client.command.exit_codes import ExitCode, exit_code_of
from organseg_client.command.files import make_folder
from organseg_client.command.parser import add_command, add_json_option

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask every row of a CSV: one image and one question each. The answers go to a JSONL
file, one line a row, in the order of the rows. That file is the journal too: after an interrupt,
a kill or a crash, the same command goes on where it was. A row that fails has its error in its
line, and the others go on."""

_EPILOG = """the CSV:
  A header, then a row a question; UTF-8; commas, semicolons or tabs between cells.
    image     path, relative to the CSV's folder (or to --images)
    question  one sentence in plain words
    id        optional: a name for the row, each once; else the row's number. With ids, rows may
              be inserted or moved between runs; without, only added at the end
    window    optional: "LOW HIGH", values that become black and white
    slice     optional: which axial slice of a volume, 0 at the feet

    image,question,id
    a.png,Which organ stores bile?,case-1
    b.png,"Where are spleen, liver and stomach?",case-2

the JSONL:
  {"id", "row", "image", "question", "window", "slice", "status": "answered", "answer", "files"}
  {"id", ..., "status": "failed", "error": {"class", "message", "request_id"}}

examples:
  organseg-client batch cases.csv
  organseg-client batch cases.csv --out answers.jsonl --overlays overlays --masks masks
  organseg-client batch cases.csv --out answers.jsonl --retry-failed
  organseg-client batch cases.csv --url one:8001,two:8001 --concurrency 16 --json"""

_CONCURRENCY = 8
_GIVE_UP_AFTER = 20


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "batch",
        run,
        summary="ask every row of a CSV of images and questions; goes on after a kill",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "rows",
        metavar="CSV",
        type=Path,
        help="the rows to ask, with the columns image and question; optional: "
        f"{', '.join(OPTIONAL_COLUMNS)} (see below)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the JSONL file of answers, which is gone on with where it exists (default: the "
        "CSV's name with .jsonl)",
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        help="where relative image paths start (default: the CSV's folder)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="ask rows again that failed in an earlier run; their old lines go",
    )
    parser.add_argument(
        "--masks",
        metavar="FOLDER",
        type=Path,
        help="write a PNG of organ ids for each answer, named by the row's id",
    )
    parser.add_argument(
        "--overlays",
        metavar="FOLDER",
        type=Path,
        help="write each image with its masks drawn over it, named by the row's id",
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=int,
        default=_CONCURRENCY,
        help="rows that are asked at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--give-up-after",
        metavar="N",
        type=int,
        default=_GIVE_UP_AFTER,
        help="stop when N rows one after another failed for reasons of the server, and leave the "
        "rest for the next run (default: %(default)s; 0 for never)",
    )
    add_json_option(parser, "how many rows there are, were answered, failed and are left, and why")
    add_connection_options(parser)


def run(options: argparse.Namespace) -> ExitCode:
    """Asks what is not finished, then shows how far the whole CSV is."""
    for name in ("concurrency", "give_up_after"):
        least = 1 if name == "concurrency" else 0
        if getattr(options, name) < least:
            raise InvalidInputError(
                f"wanted --{name.replace('_', '-')} of {least} or more, got "
                f"{getattr(options, name)}; leave it out for the default"
            )
    read = read_rows(options.rows)
    if read.ignored_columns:
        say(f"columns that mean nothing here: {', '.join(map(repr, read.ignored_columns))}")
    for folder in (options.masks, options.overlays):
        if folder is not None:
            make_folder(folder)
    out: Path = options.out or options.rows.with_suffix(".jsonl")
    rows = {row.id: row for row in read.rows}
    with Journal(out, rows, retry_failed=options.retry_failed) as journal:
        left = [row for row in read.rows if row.id not in journal.entries]
        if len(left) < len(rows):
            say(f"{len(rows) - len(left)} of {len(rows)} rows are finished already in {out}")
        try:
            gave_up = _ask(options, left, journal) if left else None
        except KeyboardInterrupt:
            say(
                f"{len(journal.entries)} of {len(rows)} rows are finished; run the same command "
                "again to go on"
            )
            raise
    return _report(options, journal, asked=len(left), total=len(rows), out=out, gave_up=gave_up)


def _ask(options: argparse.Namespace, left: list[Row], journal: Journal) -> OrganSegError | None:
    with open_client(options) as client:
        # Where there is no server at all, that is no failure of the rows.
        client.connect()
        start_s = time.monotonic()
        with progress_bar("asking rows") as show:

            def show_row(done: int) -> None:
                seconds = time.monotonic() - start_s
                show(done, len(left), f"{done / seconds:.1f} rows/s" if seconds > 1 else "")

            return ask_rows(
                client,
                left,
                journal,
                images=options.images or options.rows.parent,
                pictures=Pictures(options.masks, options.overlays),
                concurrency=options.concurrency,
                give_up_after=options.give_up_after,
                show=show_row,
            )


def _report(
    options: argparse.Namespace,
    journal: Journal,
    *,
    asked: int,
    total: int,
    out: Path,
    gave_up: OrganSegError | None,
) -> ExitCode:
    outcomes = Counter((entry.status, entry.outcome) for entry in journal.entries.values())
    counts: dict[RowStatus, dict[str, int]] = {status: {} for status in RowStatus}
    for (status, outcome), count in sorted(
        outcomes.items(), key=lambda item: (item[0][0].value, -item[1], item[0][1])
    ):
        counts[status][outcome] = count
    answered = sum(counts[RowStatus.ANSWERED].values())
    failed = sum(counts[RowStatus.FAILED].values())
    left = total - answered - failed
    if options.json:
        print_json(
            {
                "out": str(out),
                "rows": total,
                "asked": asked - left,
                "answered": answered,
                "failed": failed,
                "left": left,
                "verdicts": counts[RowStatus.ANSWERED],
                "errors": counts[RowStatus.FAILED],
            }
        )
    else:
        looks = {RowStatus.ANSWERED: "green", RowStatus.FAILED: "bold red"}
        table = [
            (Cell(status.value, looks[status]), outcome, str(count))
            for status in RowStatus
            for outcome, count in counts[status].items()
        ]
        print_table(("status", "verdict or error", "rows"), table, right=("rows",))
        print_line("")
        print_line(f"{answered} of {total} rows answered, {failed} failed, {left} left: {out}")
    if gave_up is not None:
        warn(f"stopped: {gave_up}")
    if failed:
        say("rows that failed are asked again with --retry-failed")
    if gave_up is not None:
        return exit_code_of(gave_up)
    if failed:
        return ExitCode.PARTLY_FAILED if answered else ExitCode.ALL_FAILED
    return ExitCode.ANSWERED
