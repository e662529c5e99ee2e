"""The page and the Markdown: every section, every value, and nothing from outside."""

from __future__ import annotations

from benchmarks.__main__ import main


def test_x(every_record, tmp_path):
    out = tmp_path / "out"
    records = map(str, every_record)
    assert main(["report", "--records", *records, "--out", str(out)]) == 0
