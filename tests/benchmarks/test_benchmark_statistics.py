"""Triton's statistics, read from its JSON and made into milliseconds per request."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.statistics import (
    Counters,
    StatisticsReader,
    read_counters,
    times_per_request,
)
from organseg.errors import ServerFaultError


def model(name: str, count: int, milliseconds: float, version: str = "1") -> dict[str, Any]:
    """One model as Triton 2.51 gives it: numbers as text, zeros left out."""

    def part(factor: float) -> dict[str, str]:
        return {"count": str(count), "ns": str(round(factor * milliseconds * 1e6 * count))}

    return {
        "name": name,
        "version": version,
        "inference_count": str(count),
        "execution_count": str(count),
        "inference_stats": {
            "success": part(1.0),
            "fail": {},
            "queue": part(0.1),
            "compute_input": part(0.2),
            "compute_infer": part(0.6),
            "compute_output": part(0.1),
        },
    }


def test_two_readings_give_the_mean_of_the_requests_between_them() -> None:
    before = read_counters({"model_stats": [model("gate", 10, 50.0)]})["gate"]
    # Ten requests of 50 ms before, forty of 10 ms since: 900 ms in all.
    after = read_counters({"model_stats": [model("gate", 50, 900 / 50)]})["gate"]
    times = times_per_request("gate", after.since(before))
    assert (times.requests, times.executions) == (40, 40)
    assert times.in_server_ms == pytest.approx(10.0)
    assert times.queue_ms == pytest.approx(1.0)
    assert times.compute_input_ms == pytest.approx(2.0)
    assert times.compute_infer_ms == pytest.approx(6.0)
    assert times.compute_output_ms == pytest.approx(1.0)
    assert times.compute_ms == pytest.approx(9.0)


def test_a_model_that_was_never_asked_counts_zero() -> None:
    fresh = {"name": "gate", "version": "1", "inference_stats": {"success": {}, "fail": {}}}
    assert read_counters({"model_stats": [fresh]})["gate"] == Counters(0, 0, 0, 0, (0, 0, 0, 0))


def test_the_versions_of_a_model_are_counted_together() -> None:
    document = {"model_stats": [model("gate", 2, 4.0), model("gate", 3, 4.0, version="2")]}
    assert read_counters(document)["gate"].requests == 5


def test_failed_requests_are_counted_apart() -> None:
    failing = model("gate", 2, 4.0)
    failing["inference_stats"]["fail"] = {"count": "7", "ns": "1"}
    counters = read_counters({"model_stats": [failing]})["gate"]
    assert (counters.requests, counters.failures) == (2, 7)


def test_a_stage_without_requests_is_refused_rather_than_divided_by_zero() -> None:
    with pytest.raises(ServerFaultError, match="'gate'"):
        times_per_request("gate", Counters(0, 0, 0, 0, (0, 0, 0, 0)))


class RecordedReader(StatisticsReader):
    """Gives readings made by hand, the last one for ever."""

    def __init__(self, *counts: int) -> None:
        super().__init__("127.0.0.1:1")
        self.counts = list(counts)

    def read(self) -> dict[str, Counters]:
        count = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        return {"gate": Counters(count, 0, count, count, (0, 0, 0, count))}


def test_a_request_that_is_counted_late_is_waited_for() -> None:
    with RecordedReader(3, 4, 5, 5) as reader:
        assert reader.read_settled({"gate": 4})["gate"].requests == 5


def test_a_server_that_others_keep_asking_is_read_when_the_time_is_up() -> None:
    with RecordedReader(*range(4, 1000)) as reader:
        assert reader.read_settled({"gate": 4}, patience_s=0.3)["gate"].requests > 4


def test_requests_that_are_never_counted_are_refused() -> None:
    with (
        RecordedReader(3) as reader,
        pytest.raises(ServerFaultError, match="counted for gate"),
    ):
        reader.read_settled({"gate": 4}, patience_s=0.2)
