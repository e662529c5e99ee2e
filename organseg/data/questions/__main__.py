"""The command `python -m organseg.data.questions`: what the question set holds, and its checks."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from organseg.data.questions.checks import find_faults
from organseg.data.questions.loader import BUILT_IN_FOLDER, load_questions
from organseg.data.questions.near_copies import DEFAULT_THRESHOLD
from organseg.data.questions.question import Question, QuestionKind, Split
from organseg.errors import OrganSegError
from organseg.organs import ORGANS, organ_by_id

_SEVERAL = "several"
_OUT_OF_SCOPE = "out of scope"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, one organ's questions or the checks; 1 where a check found a fault."""
    options = _parser().parse_args(arguments)
    folders = (BUILT_IN_FOLDER, *options.folder)
    try:
        splits = {split: load_questions(split, folders) for split in Split}
    except OrganSegError as error:
        print(error, file=sys.stderr)
        return 1
    if options.show is not None:
        return _show(options.show, splits)
    if options.check:
        return _check(splits, options.threshold)
    print("\n\n".join(_table(split, questions) for split, questions in splits.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m organseg.data.questions",
        description="Counts of the question set per subject and kind, for both splits.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="look for near copies, shared facts, copied descriptions and thin organs",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="the similarity from which a held-out question is a near copy (default %(default)s)",
    )
    parser.add_argument(
        "--show", metavar="SUBJECT", help='an organ\'s name, "several" or "out of scope"'
    )
    parser.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        help="a further folder of question files; may be given more than once",
    )
    return parser


def _check(splits: dict[Split, tuple[Question, ...]], threshold: float) -> int:
    # Here, so that the tables and `--show` need nothing of the networks.
    from organseg.networks.context_cache import load_descriptions

    descriptions = [
        sentence
        for subjects in load_descriptions().values()
        for sentences in subjects.values()
        for sentence in sentences
    ]
    try:
        faults = find_faults(splits[Split.TRAIN], splits[Split.HELD_OUT], threshold, descriptions)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    counts = " and ".join(f"{len(found)} {split.value}" for split, found in splits.items())
    print(f"{counts} questions, {len(faults)} faults")
    return 1 if faults else 0


def _show(subject: str, splits: dict[Split, tuple[Question, ...]]) -> int:
    wanted = subject.strip().lower().replace("_", " ")
    found = [
        question
        for questions in splits.values()
        for question in questions
        if wanted in _subjects_of(question)
    ]
    if not found:
        known = ", ".join([*(organ.name for organ in ORGANS), _SEVERAL, _OUT_OF_SCOPE])
        print(f"wanted one of {known}; got {subject!r}", file=sys.stderr)
        return 2
    fact = None
    for question in found:
        if (question.split, question.fact) != fact:
            fact = (question.split, question.fact)
            print(f"\n[{question.split.value}, {question.kind.value}] {question.fact}")
        print(f"    {question.text}")
    return 0


def _subjects_of(question: Question) -> tuple[str, ...]:
    """The names under which `--show` finds a question."""
    names = tuple(organ_by_id(organ_id).name for organ_id in question.organ_ids)
    if len(names) > 1:
        return (*names, _SEVERAL)
    return names or (_OUT_OF_SCOPE,)


def _row_of(question: Question) -> str:
    """The row of the table that counts a question for an organ."""
    if len(question.organ_ids) > 1:
        return _SEVERAL
    return organ_by_id(question.organ_ids[0]).name


def _table(split: Split, questions: Sequence[Question]) -> str:
    """The counts of one split: a row per subject and a column per kind, then out of scope."""
    asked = [question for question in questions if question.in_scope]
    counts = Counter((_row_of(question), question.kind) for question in asked)
    kinds = [kind for kind in QuestionKind if any(question.kind is kind for question in asked)]
    lines = [[split.value, "all", *(kind.value for kind in kinds)]]
    for row in [*(organ.name for organ in ORGANS), _SEVERAL]:
        cells = [counts[row, kind] for kind in kinds]
        lines.append([row, str(sum(cells)), *(str(cell or "·") for cell in cells)])
    totals = Counter(question.kind for question in asked)
    lines.append(["all", str(len(asked)), *(str(totals[kind]) for kind in kinds)])
    refused = Counter(question.kind.value for question in questions if not question.in_scope)
    listed = ", ".join(f"{kind} {count}" for kind, count in refused.most_common())
    return f"{_align(lines)}\n{_OUT_OF_SCOPE}: {refused.total()} ({listed})"


def _align(lines: Sequence[Sequence[str]]) -> str:
    """The cells in columns, the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
