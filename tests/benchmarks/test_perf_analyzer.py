"""NVIDIA's perf_analyzer: fetched by pip, started, and driving the ensemble over gRPC."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.perf_analyzer import (
    Level,
    Measurement,
    PerfAnalyzerError,
    PerfAnalyzerUnreachableError,
    ensure_perf_analyzer,
    program_environment,
    read_levels,
    run_perf_analyzer,
)
from benchmarks.perf_input import write_input
from benchmarks.workload import ImageSource, Question, Workload, make_workload

# A busy machine's windows differ by much, and what is tested is not its speed.
QUICK = Measurement(window_requests=2, stability_percent=10_000)

PRINTED = """\
Request concurrency: 1
  Client:
    Request count: 29
    Throughput: 3.2131 infer/sec
    Avg latency: 310818 usec (standard deviation 83330 usec)
    p50 latency: 294204 usec
    p90 latency: 395524 usec
    p95 latency: 503149 usec
    p99 latency: 549167 usec
  Server:
    Inference count: 30
Request concurrency: 4
  Client:
    Request count: 58
    Throughput: 6 infer/sec
    p50 latency: 529787 usec
    p95 latency: 910313 usec
    p99 latency: 938491 usec
"""


def fake_program(folder: Path, words: str, status: int) -> Path:
    path = folder / "perf_analyzer"
    path.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def program() -> Path:
    """The real program, in the checkout's build folder."""
    try:
        return ensure_perf_analyzer()
    except PerfAnalyzerUnreachableError as error:
        pytest.skip(f"pip has no network to fetch perf_analyzer with: {error}")


def test_the_levels_are_read_from_what_is_printed() -> None:
    assert read_levels(PRINTED) == (
        Level(1, 29, 3.2131, 294.204, 503.149, 549.167),
        Level(4, 58, 6.0, 529.787, 910.313, 938.491),
    )


def test_levels_are_read_where_a_percentile_takes_the_place_of_the_mean() -> None:
    assert "Avg latency" not in PRINTED.split("Request concurrency: 4")[1]
    assert read_levels(PRINTED)[1].p95_ms == 910.313


def test_output_without_results_is_refused() -> None:
    with pytest.raises(PerfAnalyzerError, match="wanted results"):
        read_levels("Request concurrency: 1\n")


def test_without_a_package_index_the_error_says_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(PerfAnalyzerUnreachableError, match="PIP_INDEX_URL"):
        ensure_perf_analyzer(tmp_path / "tools" / "perf_analyzer")
    assert list((tmp_path / "tools").iterdir()) == []


def test_the_libraries_are_linked_for_one_run_only() -> None:
    with program_environment() as environment:
        folder = Path(environment["LD_LIBRARY_PATH"].split(":")[0])
        linked = {path.name for path in folder.iterdir() if path.resolve().is_file()}
        assert linked == {"libb64.so.0d", "libcudart.so.12"}
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "status", "remedy"),
    [
        ("x: error while loading shared libraries: libb64.so.0d: no such file", 127, "organseg"),
        ("Failed to obtain stable measurement.", 2, "--stability"),
        ("Thread [0] had error: no memory", 99, "no memory"),
    ],
)
def test_a_failed_run_gives_the_words_of_the_program_and_the_remedy(
    tmp_path: Path, words: str, status: int, remedy: str
) -> None:
    program = fake_program(tmp_path, words, status)
    with pytest.raises(PerfAnalyzerError, match=f"status {status}") as caught:
        run_perf_analyzer(program, "127.0.0.1:1", tmp_path / "none.json", QUICK, len)
    assert remedy in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["0:4:1", "4:1", "1:2:3:4", "many"])
def test_a_wrong_range_of_users_is_refused_before_anything_runs(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["perf-analyzer", "--url", "127.0.0.1:1", "--concurrency", text])
    assert "--concurrency" in capsys.readouterr().err


@pytest.mark.server
def test_it_drives_the_ensemble_from_a_generated_file(
    server_address: str, program: Path, tmp_path: Path
) -> None:
    input_file = tmp_path / "requests.json"
    write_input(input_file, make_workload(4))
    printed: list[str] = []
    # A request that fails ends the program with another status, which raises.
    (level,) = run_perf_analyzer(program, server_address, input_file, QUICK, printed.append)
    assert level.concurrency == 1
    assert level.requests > 0
    assert level.requests_per_second > 0
    assert "4 step/steps" in "".join(printed)
    assert "had error" not in "".join(printed)


@pytest.mark.server
def test_a_request_that_fails_fails_the_measurement(
    server_address: str, program: Path, tmp_path: Path
) -> None:
    input_file = tmp_path / "requests.json"
    broken = Workload((Question(b"no image", "Segment the liver"),), ImageSource.FILES)
    write_input(input_file, broken)
    with pytest.raises(PerfAnalyzerError, match="ImageError"):
        run_perf_analyzer(program, server_address, input_file, QUICK, len)


@pytest.mark.server
def test_the_command_prints_a_row_for_every_number_of_users(
    server_address: str, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--concurrency", "1:2:1", "--requests", "3", "--window-requests", "2"]
    command = ["perf-analyzer", "--url", server_address, *arguments, "--stability", "10000"]
    assert main([*command, "--", "--percentile=95"]) == 0
    printed = capfd.readouterr().out
    assert "p95 latency" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip() for row in rows] == ["1", "2"]
    assert all(int(row.split("|")[2]) > 0 for row in rows)
