"""The loader: question files (JSON) to questions, with a clear error for every fault in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from organseg.data.questions.question import (
    ORGAN_KINDS,
    OUT_OF_SCOPE_KINDS,
    Question,
    QuestionKind,
    Split,
)
from organseg.errors import DatasetError
from organseg.organs import organ_by_name

BUILT_IN_FOLDER = Path(__file__).resolve().parent / "files"
"""The question files that come with the package; `README.md` there explains the layout."""

_FILE_FIELDS = ("description", "source", "licence", "split", "facts")
_FACT_FIELDS = ("organs", "kind", "fact", "questions")
_BILATERAL = ((2, 13), (7, 8))
_COUNTS = {QuestionKind.PAIR: 2, QuestionKind.TRIPLE: 3}


def load_questions(
    split: Split, folders: Sequence[Path] = (BUILT_IN_FOLDER,)
) -> tuple[Question, ...]:
    """The questions of one split, in the order of folders, file names and lines.

    Args:
        split: training or held-out.
        folders: each holds `train/*.json` and `held_out/*.json`; name further folders to widen
            the set with other sources. A folder without that split adds nothing.

    Raises:
        DatasetError: a folder is missing, a file is not laid out as the README says, or the
            same text occurs twice in the split.
    """
    questions: list[Question] = []
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(
                f"wanted a folder with question files, got {folder.name!r}, which is none: "
                "name a folder that holds train/*.json and held_out/*.json"
            )
        for path in sorted((folder / split.value).glob("*.json")):
            questions.extend(_read_file(path, split))
    _refuse_repeats(questions)
    return tuple(questions)


def _read_file(path: Path, split: Split) -> list[Question]:
    name = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"wanted JSON in UTF-8 in {name}, got {error}: mend the file") from error
    _demand_fields(content, _FILE_FIELDS, name)
    if content["split"] != split.value:
        raise DatasetError(
            f"wanted split {split.value!r} in {name}, got {content['split']!r}: "
            "move the file into the folder of its split"
        )
    _demand(isinstance(content["facts"], list), "a list of facts", name)
    questions: list[Question] = []
    for index, entry in enumerate(content["facts"], start=1):
        questions.extend(_read_fact(entry, split, f"fact {index} of {name}"))
    return questions


def _read_fact(entry: Any, split: Split, where: str) -> list[Question]:
    _demand_fields(entry, _FACT_FIELDS, where)
    _demand(_is_text(entry["fact"]), "a fact in words", where)
    for field in ("organs", "questions"):
        _demand(
            isinstance(entry[field], list) and all(_is_text(item) for item in entry[field]),
            f"a list of texts without blanks at their ends under {field!r}",
            where,
        )
    _demand(bool(entry["questions"]), "at least one question", where)
    organ_ids = _read_organs(entry["organs"], where)
    kind = _read_kind(entry["kind"], organ_ids, where)
    return [Question(text, organ_ids, kind, entry["fact"], split) for text in entry["questions"]]


def _read_organs(names: list[str], where: str) -> tuple[int, ...]:
    try:
        organ_ids = sorted(organ_by_name(name).id for name in names)
    except KeyError as error:
        raise DatasetError(
            f"wanted canonical organ names in {where}, got {error.args[0]!r}: "
            "use the names of organseg/organs.py"
        ) from None
    _demand(len(set(organ_ids)) == len(organ_ids), "each organ once", where)
    _demand(all(1 <= organ_id <= 13 for organ_id in organ_ids), "no organ 'none'", where)
    return tuple(organ_ids)


def _read_kind(value: Any, organ_ids: tuple[int, ...], where: str) -> QuestionKind:
    try:
        kind = QuestionKind(value)
    except ValueError:
        known = ", ".join(each.value for each in QuestionKind)
        raise DatasetError(f"wanted a kind ({known}) in {where}, got {value!r}: mend it") from None
    if kind in _COUNTS:
        fits = len(organ_ids) == _COUNTS[kind]
    elif kind in OUT_OF_SCOPE_KINDS:
        fits = not organ_ids
    elif kind in ORGAN_KINDS:
        fits = len(organ_ids) == 1 or organ_ids in _BILATERAL
    else:
        fits = True
    _demand(fits, f"organs that fit the kind {kind.value!r}", where)
    return kind


def _refuse_repeats(questions: Sequence[Question]) -> None:
    seen: set[str] = set()
    for question in questions:
        key = " ".join(question.text.casefold().split())
        if key in seen:
            raise DatasetError(
                f"wanted every question once in a split, got {question.text!r} twice: delete one"
            )
        seen.add(key)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value == value.strip()


def _demand_fields(entry: Any, fields: tuple[str, ...], where: str) -> None:
    got = sorted(entry) if isinstance(entry, Mapping) else type(entry).__name__
    if got != sorted(fields):
        raise DatasetError(
            f"wanted the fields {', '.join(fields)} in {where}, got {got}: "
            "see README.md beside the question files"
        )


def _demand(holds: bool, wanted: str, where: str) -> None:
    if not holds:
        raise DatasetError(
            f"wanted {wanted} in {where}, got something else: "
            "see README.md beside the question files"
        )
