"""The page and the Markdown: every section, every value, and nothing from outside."""

from __future__ import annotations

from benchmarks.__main__ import main


def test_x(load_record, peers_record, tmp_path):
    out = tmp_path / "out"
    assert (
        main(["report", "--records", str(load_record), str(peers_record), "--out", str(out)]) == 0
    )
