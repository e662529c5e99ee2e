"""The report on precisions: measured by graphs and engines, rendered from its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_toys import TOY

from export.precision import Precision
from export.precision_report import CAPABILITIES, measure, render
from export.progress import Progress
from organseg.contract import ModelKind, models_of

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "results" / "precision"
GRAPHS = [model.name for model in models_of(TOY) if model.kind is ModelKind.GRAPH]
RELEASE = {
    "precision": "bf16",
    "holds": False,
    "requests": 96,
    "other_verdicts": 1,
    "masks": 45,
    "least_dice": 0.98765,
    "mean_dice": 0.99876,
}
PROVENANCE = {
    "command": "python -m x",
    "commit": "abc",
    "machine": "a machine",
    "packages": "torch",
}


@pytest.fixture(scope="module")
def measured():
    return measure(TOY, Progress(quiet=True))


def test_every_graph_is_measured_in_every_precision(measured):
    rows = measured["graphs"]
    assert [(row["graph"], row["precision"]) for row in rows] == [
        (name, precision.value) for name in GRAPHS for precision in Precision
    ]
    assert all(row["holds"] and row["megabytes"] > 0 for row in rows)
    errors = {(row["graph"], row["precision"]): row["relative_difference"] for row in rows}
    for name in GRAPHS:
        assert errors[name, "fp32"] < errors[name, "fp16"] < errors[name, "bf16"]
    assert measured["trained"] is False
    assert measured["releases"] == []


def test_every_graph_has_an_engine_for_every_capability(measured):
    for row in measured["graphs"]:
        assert [engine["capability"] for engine in row["engines"]] == list(CAPABILITIES)
        for engine in row["engines"]:
            assert engine["megabytes"] > 0.01


def test_the_report_says_what_was_measured_and_what_users_would_notice(measured):
    row = {**measured["graphs"][0], "holds": False}
    row["engines"] = [
        {"capability": "8.6", "seconds": 1.25, "megabytes": 3.04},
        {"capability": "8.9", "refused": "its parser refused it"},
    ]
    text = render({**measured, "graphs": [row], "releases": [RELEASE], "provenance": PROVENANCE})
    assert "random weights" in text
    assert "(too much) | 3.0 MB in 1.2 s | refused |" in text
    assert "| bf16 | 96 | 1 | 45 | 0.9877 | 0.9988 | no |" in text


def test_the_reports_in_the_repository_are_rendered_from_their_records():
    records = sorted(RECORDS.glob("*.json"))
    assert records
    for path in records:
        assert path.with_suffix(".md").read_text() == render(json.loads(path.read_text()))
