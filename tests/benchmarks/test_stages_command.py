"""The stage benchmark from the command line to its table and record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.record import describe_commit, describe_machine
from benchmarks.stages import STAGES, reckon, summarise_latencies
from benchmarks.stages_report import stages_table
from benchmarks.statistics import Counters
from benchmarks.workload import ImageSource, Question, Workload, made_up_picture
from constructed import PICTURES
from organseg.contract import ENSEMBLE_NAME

TIMES = ("compute_input_ms", "compute_infer_ms", "compute_output_ms", "compute_ms", "in_server_ms")
WORKLOAD = Workload((Question(b"1", "liver"), Question(b"2", "spleen")), ImageSource.MADE_UP)


def counters(requests: int, milliseconds: int) -> dict[str, Counters]:
    """Every model with so many requests of so many milliseconds' work each."""
    total_ns = requests * milliseconds * 10**6
    one = Counters(requests, 0, requests, total_ns, (0, 0, total_ns, 0))
    return dict.fromkeys((*STAGES, ENSEMBLE_NAME), one)


def run(arguments: list[str], record_file: Path) -> tuple[int, dict[str, Any]]:
    status = main(["stages", *arguments, "--json", str(record_file)])
    return status, json.loads(record_file.read_text())


def assert_complete(record: dict[str, Any]) -> None:
    """Every stage of the contract is there, and every time is positive."""
    assert [stage["name"] for stage in record["stages"]] == list(STAGES)
    for times in (*record["stages"], record["ensemble"]):
        assert times["requests"] == times["executions"] == record["answered"]
        assert all(times[name] > 0 for name in TIMES)
        assert times["queue_ms"] >= 0
    latencies = record["end_to_end_ms"]
    assert 0 < latencies["min"] <= latencies["p50"] <= latencies["p95"] <= latencies["p99"]
    # The same requests by two clocks; on a crowded machine either may be read late.
    assert record["ensemble"]["in_server_ms"] == pytest.approx(latencies["mean"], rel=0.5)
    path = record["critical_path"]
    assert path["stages"][0] == STAGES[0]
    assert path["stages"][-1] == STAGES[-1]
    assert path["hops"] == len(path["stages"])
    assert path["overhead_per_hop_ms"] == pytest.approx(
        (latencies["mean"] - path["compute_ms"]) / path["hops"]
    )


@pytest.mark.server
def test_every_stage_of_a_running_server_is_timed(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of its own: what other tests have sent is kept, and is not encoded again.
    picture = tmp_path / "picture.png"
    picture.write_bytes(made_up_picture(20_261_129))
    arguments = ["--url", server_address, "--requests", "4", "--warm-up", "2"]
    arguments += ["--images", str(picture)]
    status, record = run(arguments, tmp_path / "made" / "stages.json")
    assert status == 0
    assert_complete(record)
    assert (record["answered"], record["warm_up_requests"]) == (4, 2)
    assert (record["errors"], record["other_requests"]) == ({}, 0)
    assert record["images"]["distinct"] == record["questions"]["distinct"] == 4
    assert record["server"]["preset"] == "tiny"
    assert record["machine"]["cores"] >= 1
    assert record["packages"]["tritonclient"]
    table = capsys.readouterr().out
    assert all(f"| `{name}`" in table for name in (*STAGES, ENSEMBLE_NAME))
    assert table.count("●") == record["critical_path"]["hops"]


@pytest.mark.server
@pytest.mark.slow
def test_a_release_is_served_measured_and_stopped(release: Path, tmp_path: Path) -> None:
    arguments = ["--release", str(release), "--requests", "2", "--warm-up", "1"]
    status, record = run(arguments, tmp_path / "stages.json")
    assert status == 0
    assert_complete(record)
    assert record["server"]["release"]["platform"] == "python"
    inside = record["in_process"]
    assert inside["requests"] == 2
    assert set(inside["path"]) <= set(inside["stages_ms"]) <= set(STAGES)
    assert inside["critical_path_ms"] == pytest.approx(
        sum(inside["stages_ms"][name] for name in inside["path"])
    )
    assert inside["hops"] == len(inside["path"])


@pytest.mark.server
def test_requests_that_fail_are_counted_and_not_timed(server_address: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(PICTURES[0])
    bad.write_bytes(b"no image")
    arguments = ["--url", server_address, "--requests", "3", "--warm-up", "1"]
    status, record = run([*arguments, "--images", str(good), str(bad)], tmp_path / "stages.json")
    assert status == 1
    assert (record["answered"], record["errors"]) == (1, {"ImageError": 2})
    assert (record["requests"], record["other_requests"]) == (3, 0)


def test_a_server_that_is_not_there_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_file = tmp_path / "stages.json"
    arguments = ["--requests", "1", "--warm-up", "1", "--json", str(record_file)]
    assert main(["stages", "--url", "127.0.0.1:1", *arguments]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not record_file.exists()


def test_requests_of_others_are_told_in_the_table() -> None:
    timings = reckon(counters(5, 7), counters(9, 7), [60.0, 80.0], {})
    assert timings.other_requests == 2
    assert "**Not clean:** the server ran 2 requests" in stages_table(timings, WORKLOAD, "")
    clean = reckon(counters(5, 7), counters(7, 7), [60.0, 80.0], {})
    assert "Not clean" not in stages_table(clean, WORKLOAD, "")


def test_a_request_that_others_gave_up_halfway_is_told_too() -> None:
    after = counters(7, 7)
    after[STAGES[0]] = after[STAGES[0]].plus(Counters(1, 0, 1, 10**7, (0, 0, 10**7, 0)))
    assert reckon(counters(5, 7), after, [60.0, 80.0], {}).other_requests == 1
    # One of our own that failed on its way is none of others.
    assert reckon(counters(5, 7), after, [60.0, 80.0], {"ServerBusyError": 1}).other_requests == 0


def test_the_table_states_the_overhead_with_its_reckoning() -> None:
    timings = reckon(counters(5, 7), counters(7, 7), [60.0, 80.0], {"ServerBusyError": 1})
    table = stages_table(timings, WORKLOAD, "")
    # Of equal stages the longer branch is the language model's: 6 stages of 7 ms.
    assert "(70.00 − 42.00) / 6 = **4.67 ms**" in table
    assert "1 × ServerBusyError" in table


def test_percentiles_are_of_the_latencies_in_order() -> None:
    latencies = summarise_latencies([float(value) for value in range(100, -1, -1)])
    assert (latencies.p50, latencies.p95, latencies.p99) == (50.0, 95.0, 99.0)
    assert (latencies.mean, latencies.min, latencies.max) == (50.0, 0.0, 100.0)


def test_the_machine_is_described_and_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    machine = describe_machine()
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert describe_commit(tmp_path) is None
