"""The benchmark of shared memory from the command line to its table and record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.server
def test_a_served_release_is_measured_both_ways(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_file = tmp_path / "gain.json"
    arguments = ["--release", str(release), "--sides", "64", "128", "--requests", "2"]
    assert main(["shared-memory", *arguments, "--json", str(record_file)]) == 0
    record = json.loads(record_file.read_text())
    assert record["preset"] == "tiny"
    assert [(gain["side"], gain["file"]) for gain in record["gains"]] == [
        (64, "PNG"),
        (64, "npy int16"),
        (128, "PNG"),
        (128, "npy int16"),
    ]
    for gain in record["gains"]:
        assert gain["mask_bytes"] % gain["side"] ** 2 == 0
        assert gain["image_bytes"] > 0
        assert 0 < gain["shared_ms"] < 60_000
        assert 0 < gain["connection_ms"] < 60_000
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("| image | file |")
    assert len(table) == 2 + len(record["gains"])
