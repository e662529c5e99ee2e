"""A record as files: JSON for machines, Markdown tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from organseg.evaluation.intervals import Interval
from organseg.evaluation.record import EvaluationRecord, OrganMetrics
from organseg.organs import ORGANS

__all__ = ["markdown_of", "write_record"]

_COLUMNS: tuple[tuple[str, Callable[[OrganMetrics], Interval]], ...] = (
    ("Dice, present", lambda row: row.dice_present),
    ("Dice, empty-aware", lambda row: row.dice_empty_aware),
    ("IoU, present", lambda row: row.iou_present),
    ("box IoU, present", lambda row: row.box_iou_present),
    ("NSD, slice", lambda row: row.surface_dice_slice),
    ("volume Dice, present", lambda row: row.volume_dice_shown),
    ("volume Dice, official", lambda row: row.volume_dice_official),
    ("volume Dice, fixed", lambda row: row.volume_dice_fixed),
    ("volume NSD, official", lambda row: row.surface_dice_official),
    ("volume NSD, fixed", lambda row: row.surface_dice_fixed),
)


def write_record(record: EvaluationRecord, folder: Path) -> tuple[Path, Path]:
    """Writes `evaluation.json` and `evaluation.md` into the folder, and gives both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_markdown = folder / "evaluation.json", folder / "evaluation.md"
    text = json.dumps(asdict(record), indent=1, allow_nan=False)
    as_json.write_text(text + "\n", encoding="utf-8")
    as_markdown.write_text(markdown_of(record), encoding="utf-8")
    return as_json, as_markdown


def markdown_of(record: EvaluationRecord) -> str:
    """The record as Markdown: what was run, then each table under its heading.

    Shares are in percent; brackets hold the 95 % interval over patients, left out where fewer
    than eight patients were scored; "–" is a number that nothing was scored for.
    """
    sections = (
        ("What was evaluated", _provenance(record)),
        ("Dice by organ (the paper's Table III)", _table_three(record)),
        ("Beside baselines (the paper's Table II)", _table_two(record)),
        ("All mask and box scores", _all_scores(record)),
        ("Which organ was answered, and what was rejected", _rates(record)),
        ("Confusion matrix (rows asked, columns answered)", _confusion(record)),
        ("Right answers by the kind of question", _kinds(record)),
        ("Calibration", _calibration(record)),
    )
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections)
    notices = "".join(f"> **{notice}**\n\n" for notice in record.notices)
    return f"# {record.model} on {record.dataset}\n\n{notices}{body}\n"


def _provenance(record: EvaluationRecord) -> str:
    facts = {
        "questions": str(record.questions),
        "patients": str(record.patients),
        **record.provenance,
    }
    return _table(("", ""), list(facts.items()))


def _table_three(record: EvaluationRecord) -> str:
    row = [_percent(metrics.dice_present.value) for metrics in (*record.organs, record.mean)]
    return _table(("", *(organ.name for organ in ORGANS), "mean"), [(record.model, *row)])


def _table_two(record: EvaluationRecord) -> str:
    ours = [metrics.dice_present for metrics in record.organs]
    rows = [
        (
            name,
            _with_interval(mean),
            str(sum(interval.count for interval in per_organ)),
            str(mean.patients),
            *(_percent(interval.value) for interval in per_organ),
        )
        for name, mean, per_organ in (
            *((row.name, row.mean, row.dice_present) for row in record.baselines),
            (f"query-guided ({record.model})", record.mean.dice_present, ours),
        )
    ]
    header = (
        "",
        "mean Dice, organ present",
        "masks",
        "patients",
        *(organ.name for organ in ORGANS),
    )
    return _table(header, rows)


def _all_scores(record: EvaluationRecord) -> str:
    rows = [
        (
            row.name,
            str(row.dice_present.count),
            str(row.dice_present.patients),
            *(_with_interval(column(row)) for _, column in _COLUMNS),
            str(row.volumes_not_scored),
        )
        for row in (*record.organs, record.mean)
    ]
    header = ("organ", "present", "patients", *(name for name, _ in _COLUMNS), "volumes not scored")
    return _table(header, rows)


def _rates(record: EvaluationRecord) -> str:
    answers, rejection, referring = record.answers, record.rejection, record.referring
    named: tuple[tuple[str, Interval], ...] = (
        ("organ choice", answers.organ_choice),
        ("organ choice: asked by name", answers.choice_by_name),
        ("organ choice: asked by knowledge", answers.choice_by_knowledge),
        ("organ choice, out-of-scope questions included", answers.all_answers),
        ("several organs, exact match", answers.multi_organ_exact_match),
        ("out of scope: N-acc (false premise recognised)", rejection.scope_n_acc),
        ("out of scope: T-acc", rejection.scope_t_acc),
        ("absent in image: N-acc", rejection.absence_n_acc),
        ("absent in image: N-acc, strict (called absent)", rejection.absence_n_acc_strict),
        ("absent in image: T-acc", rejection.absence_t_acc),
        ("gIoU", referring.generalized_iou),
        ("cIoU", referring.cumulative_iou),
    )
    rows = [(name, *_counted(interval)) for name, interval in named]
    ranking = ("out of scope: AUC of the similarity margin", _percent(rejection.scope_auc), "", "")
    return _table(("", "%", "asked", "patients"), [*rows, ranking])


def _confusion(record: EvaluationRecord) -> str:
    rows = [
        (f"**{name}**", *(str(count) if count else "" for count in counts))
        for name, counts in zip(record.confusion_order, record.confusion, strict=True)
    ]
    return _table(("", *record.confusion_order), rows)


def _kinds(record: EvaluationRecord) -> str:
    rows = [(row.kind or "not told", *_counted(row.accuracy)) for row in record.kinds]
    return _table(("kind", "%", "asked", "patients"), rows)


def _calibration(record: EvaluationRecord) -> str:
    both = record.presence, record.refusal
    rows = [
        ("stated probabilities", *(str(item.count) for item in both)),
        (
            "expected calibration error, %",
            *(_percent(item.expected_calibration_error) for item in both),
        ),
        ("Brier score, %", *(_percent(item.brier) for item in both)),
        ("AUC, %", *(_percent(item.auc) for item in both)),
    ]
    summary = _table(("", "organ in the image", "question out of scope"), rows)
    per_organ = _table(
        ("AUC of presence, %", *(organ.name for organ in ORGANS)),
        [("", *(_percent(auc) for auc in record.presence.auc_per_organ))],
    )
    return f"{summary}\n\n{per_organ}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.1f}"


def _counted(interval: Interval) -> tuple[str, str, str]:
    """Value with interval, scored items, patients."""
    return _with_interval(interval), str(interval.count), str(interval.patients)


def _with_interval(interval: Interval) -> str:
    value = _percent(interval.value)
    if interval.low is None or interval.high is None:
        return value
    return f"{value} [{_percent(interval.low)}, {_percent(interval.high)}]"
