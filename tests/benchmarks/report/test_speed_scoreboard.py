"""The README's table of speed: rendered from records, checked against the README."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks.__main__ import main
from benchmarks.report import scoreboard_command
from benchmarks.report.scoreboard import NOTHING, render_scoreboard


@pytest.fixture
def results(tmp_path, every_record):
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    for path in every_record:
        shutil.copy(path, folder)
    return folder.parent


@pytest.fixture
def readme(tmp_path, results, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text(f"before {scoreboard_command.BEGIN} old {scoreboard_command.END} after")
    monkeypatch.setattr(scoreboard_command, "README", path)
    monkeypatch.setattr(scoreboard_command, "RESULTS", results)
    return path


def test_measures_and_goals_stand_in_the_table(results):
    table = render_scoreboard(results)
    assert "| answers per second, 8 users | – | 19.10 |" in table
    assert "| p50 in ms, 1 user | – | 105.0 |" in table
    assert "and 10 % more answers | – | 4 users |" in table
    assert "vs FastAPI, our graphs | – | 1.21 |" in table
    assert "with its image sent again vs the first, p50 | ≤ 0.35 | 0.28 ✓ |" in table
    assert "vs FastAPI, torch eager | ≥ 1.50 | 2.27 ✓ |" in table
    assert "vs LitServe, torch | ≥ 1.20 | 1.10 (missed by 8%) |" in table
    assert "- `tiny`: a CPU, 2 cores for server and clients together, commit 0123456789ab," in table
    assert table.endswith("+00:00, 5 turns with the peers")


def test_a_record_of_another_machine_is_named_with_it(results):
    path = results / "tiny" / "memory-soak.json"
    record = json.loads(path.read_text())
    record["run"]["machine"]["cpu"] = "another CPU"
    path.write_text(json.dumps(record))
    assert "; memory-soak: another CPU, 2 cores for" in render_scoreboard(results)


def test_without_records_the_readme_says_what_makes_them(tmp_path):
    assert render_scoreboard(tmp_path) == NOTHING


def test_a_stale_table_fails_the_check_until_it_is_rendered(readme, capsys):
    assert main(["scoreboard", "--check"]) == 1
    assert "python -m benchmarks scoreboard" in capsys.readouterr().err
    assert " old " in readme.read_text()
    assert main(["scoreboard"]) == 0
    assert main(["scoreboard", "--check"]) == 0
    assert readme.read_text().startswith("before ")
    assert readme.read_text().endswith(" after")


def test_a_readme_without_marks_is_told(readme, capsys):
    readme.write_text("nothing")
    assert main(["scoreboard"]) == 1
    assert "marks" in capsys.readouterr().err


def test_the_readme_of_the_tree_is_up_to_date():
    assert main(["scoreboard", "--check"]) == 0
