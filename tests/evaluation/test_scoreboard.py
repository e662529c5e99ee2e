"""The scoreboard: rendered from records, checked against the README."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from organseg.evaluation import scoreboard


@pytest.fixture
def results(tmp_path, record):
    folder = tmp_path / "phantoms"
    folder.mkdir()
    content = asdict(record)
    content["provenance"] = {"commit": "abc dirty", "machine": "one", "command": "python -m …"}
    (folder / "evaluation.json").write_text(json.dumps(content))
    return tmp_path


def test_every_rate_and_organ_has_a_row_with_the_records_number(results):
    text = scoreboard.render(results)
    record = json.loads((results / "phantoms" / "evaluation.json").read_text())
    assert "real CT" not in text
    liver = record["organs"][0]["dice_present"]["value"]
    assert f"| liver | {100 * liver:.1f} |" in text
    assert text.count("\n| ") >= 9 + 13
    assert "commit abc dirty; one" in text


def test_a_readme_that_differs_fails_the_check_until_it_is_rendered(
    results, tmp_path, monkeypatch, capsys
):
    readme = tmp_path / "README.md"
    readme.write_text(f"before {scoreboard._BEGIN} old {scoreboard._END} after")
    monkeypatch.setattr(scoreboard, "README", readme)
    monkeypatch.setattr(scoreboard, "RESULTS", results)
    assert scoreboard.main(["--check"]) == 1
    assert "make scoreboard" in capsys.readouterr().err
    assert scoreboard.main([]) == 0
    assert scoreboard.main(["--check"]) == 0
    assert readme.read_text().startswith("before ")
    assert readme.read_text().endswith(" after")


def test_a_readme_without_marks_is_told(tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    monkeypatch.setattr(scoreboard, "README", readme)
    assert scoreboard.main([]) == 1
    assert "marks" in capsys.readouterr().err
