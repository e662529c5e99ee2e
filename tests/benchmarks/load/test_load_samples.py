"""From samples to figures, and from a server's own words to what it did in a window."""

from __future__ import annotations

import os

import pytest

from benchmarks.load.observation import Kept, kept_between, kept_in, memory_mib, stages_between
from benchmarks.load.questions import FIRST, FOLLOW_UP
from benchmarks.load.samples import Sample, figures, latency
from benchmarks.load.window import KeptLoad
from benchmarks.statistics import Counters
from organseg.errors import DeadlineExceededError, ServerBusyError, ServerFaultError

METRICS = """\
# HELP organ_seg_kept_hits Look-ups that found.
organ_seg_kept_hits{stage="image_features",model="image_features",version="1"} 30
organ_seg_kept_misses{model="image_features",stage="image_features"} 10.000000
organ_seg_kept_bytes{stage="image_features"} 1048576
organ_seg_kept_evictions{stage="image_features"} 2
organ_seg_kept_hits{stage="llava_med",instance="0"} 1
organ_seg_kept_hits{stage="llava_med",instance="1"} 2
nv_inference_count{model="gate",version="1"} 7
"""


def sample(ended_at_s: float, kind: str = "", error: type[Exception] | None = None) -> Sample:
    return Sample(ended_at_s, ended_at_s / 1000, kind, error.__name__ if error else "")


def test_what_ended_within_the_window_counts_and_rejections_count_apart_from_errors() -> None:
    found = figures(
        [
            sample(10.0),
            sample(11.0, FIRST),
            sample(12.0, FOLLOW_UP),
            sample(13.0, error=ServerBusyError),
            sample(14.0, error=ServerFaultError),
            sample(15.0, error=DeadlineExceededError),
            sample(16.0, error=ServerFaultError),
            sample(20.0),
            sample(20.1),
        ],
        begun_at_s=10.0,
        ended_at_s=20.0,
    )
    assert (found.answered, found.rejected) == (3, 1)
    assert found.errors == {"DeadlineExceededError": 1, "ServerFaultError": 2}
    assert found.latency is not None
    assert found.latency.max_ms == pytest.approx(20.0)
    assert found.first_latency == latency([0.011])
    assert found.follow_up_latency == latency([0.012])


def test_percentiles_are_of_every_single_sample() -> None:
    found = latency([number / 1000 for number in range(1, 102)])
    assert found is not None
    assert (found.p50_ms, found.p90_ms, found.p95_ms, found.p99_ms, found.max_ms) == pytest.approx(
        (51, 91, 96, 100, 101)
    )
    assert latency([]) is None


def test_what_is_kept_is_read_per_stage_and_added_over_instances() -> None:
    kept = kept_in(METRICS)
    assert kept == {
        "image_features": Kept(30, 10, 1 << 20, 2),
        "llava_med": Kept(3, 0, 0, 0),
    }
    assert kept_in("nv_inference_count 3") is None
    before = {"image_features": Kept(10, 5, 7, 0)}
    between = kept_between(before, kept)
    assert between is not None
    assert between["image_features"] == KeptLoad(20, 5, 1 << 20, 2)
    assert between["image_features"].hit_rate == pytest.approx(0.8)


def test_a_stage_has_its_mean_batch_and_one_that_was_not_asked_is_left_out() -> None:
    before = {"gate": Counters(1, 0, 1, 0, (0, 0, 0, 0)), "idle": Counters(3, 0, 3, 0, (0,) * 4)}
    after = {
        "gate": Counters(9, 0, 3, 0, (8_000_000, 1_000_000, 14_000_000, 1_000_000)),
        "idle": before["idle"],
    }
    stages = stages_between(before, after)
    assert stages is not None
    (gate,) = stages
    assert (gate.requests, gate.executions, gate.mean_batch) == (8, 2, 4.0)
    assert (gate.queue_ms, gate.compute_ms) == pytest.approx((1.0, 2.0))
    assert stages_between(None, after) is None


def test_the_memory_of_a_session_is_that_of_its_processes() -> None:
    assert memory_mib(os.getsid(0)) > 10
