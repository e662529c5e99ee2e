"""The benchmarks of whole volumes from the command line to their records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.volume_scans import Storage, write_scan
from organseg.imaging.scan import open_scan

pytest.importorskip("nibabel")
pytest.importorskip("pydicom")


@pytest.mark.parametrize("storage", list(Storage))
def test_made_up_scans_show_alike_however_they_are_stored(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "as_nifti").mkdir()
    (tmp_path / "other").mkdir()
    expected = open_scan(write_scan(tmp_path / "as_nifti", Storage.NIFTI, 9))
    scan = open_scan(write_scan(tmp_path / "other", storage, 9))
    for index in (0, 8):
        values = expected.slice_at(index)
        if storage is Storage.FLOAT:
            values = (values + 1000).astype(np.float32) / np.float32(3)
        assert np.array_equal(scan.slice_at(index), values)
    assert not np.array_equal(scan.slice_at(0), scan.slice_at(8))
    scan.close()
    expected.close()


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    record_file = tmp_path / "memory.json"
    assert main(["volume-memory", "--slices", "3", "--json", str(record_file)]) == 0
    record = json.loads(record_file.read_text())
    assert [run["storage"] for run in record["runs"]] == [storage.value for storage in Storage]
    for run in record["runs"]:
        assert run["slices"] == 3
        assert 0 < run["own_mib"] < run["resident_mib"]
    assert "| own memory, peak |" in record_file.with_suffix(".md").read_text()


@pytest.mark.server
def test_a_volume_is_timed_in_every_way(server_address: str, tmp_path: Path) -> None:
    record_file = tmp_path / "speed.json"
    arguments = ["volume", "--url", server_address, "--slices", "4", "--path-slices", "2"]
    arguments += ["--turns", "1", "--concurrency", "1", "3", "--json", str(record_file)]
    assert main(arguments) == 0
    record = json.loads(record_file.read_text())
    assert [way["slices"] for way in record["ways"]] == [2, 4, 4, 4]
    for way in record["ways"]:
        assert way["slices_per_second"] == pytest.approx(way["slices"] / way["seconds"])
        assert way["batch"] >= 1
        assert way["server_ms"] > 0
    assert "segment_volume`, 3 at once" in record_file.with_suffix(".md").read_text()
