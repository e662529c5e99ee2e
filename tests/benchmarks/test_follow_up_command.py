"""`python -m benchmarks follow-up` on a real server, and the record that a report reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import follow_up_command
from benchmarks.__main__ import main
from benchmarks.report.records import Kind, read_records


@pytest.mark.server
def test_a_further_question_is_held_against_the_first(
    release: Path,
    serving_again: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(follow_up_command, "serving", serving_again)
    record_file = tmp_path / "follow-up.json"
    arguments = ["--release", str(release), "--images", "2", "--json", str(record_file)]
    assert main(["follow-up", *arguments]) == 0
    assert "| reuse |" in capsys.readouterr().out
    (records,) = read_records([record_file])
    record = records.latest(Kind.FOLLOW_UP)
    assert record is not None
    (row,) = record.document["rows"]
    assert row["ratio"] == pytest.approx(row["follow_up_ms"] / row["first_ms"])
    assert records.preset == "tiny"
