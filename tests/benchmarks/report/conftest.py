"""Records of load tests, written by hand: small, with every kind of value in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.load.window import KeptLoad, Latency, Loop, Mix, StageLoad, Window

RUN = {
    "made": "2026-11-29T06:00:00+00:00",
    "commit": {"id": "0123456789abcdef", "modified": False},
    "machine": {
        "cpu": "a CPU",
        "cores": 2,
        "load_average_1_min": 0.12,
        "system": "Linux",
        "python": "3.11.7",
    },
    "packages": {"numpy": "1.26.4", "torch": "2.13.0"},
}
STAGES = ("preprocess", "image_encoder", "llava_med", "mask_decoder", "organ_seg")


def latency(p50: float) -> Latency:
    return Latency(p50, 1.3 * p50, 1.5 * p50, 1.9 * p50, 1.1 * p50, 2.3 * p50)


def window(
    load: float,
    per_second: float,
    p50: float,
    *,
    target: str = "organ_seg",
    mix: Mix = Mix.DISTINCT,
    loop: Loop = Loop.CLOSED,
    **changes,
) -> Window:
    """Twenty seconds of load."""
    answered = round(20 * per_second)
    values = {
        "target": target,
        "mix": mix,
        "loop": loop,
        "users": int(load) if loop is Loop.CLOSED else 64,
        "rate_per_s": None if loop is Loop.CLOSED else load,
        "seconds": 20.0,
        "answered": answered,
        "rejected": 0,
        "errors": {},
        "per_second": per_second,
        "latency": latency(p50),
        "client_cpu_s": 2.4,
        "server_cpu_s": 0.101 * answered,
        "server_memory_mib": 1200.0 + 3 * load,
        **changes,
    }
    return Window(**values)


def own_window(load: float, per_second: float, p50: float, **changes) -> Window:
    """Of our server, which tells of its stages and of what it keeps."""
    requests = round(20 * per_second)
    stages = tuple(
        StageLoad(name, requests, requests // (place + 1), 1.0 + place, 2.5 * load, 11.25 + place)
        for place, name in enumerate(STAGES)
    )
    is_distinct = changes.get("mix", Mix.DISTINCT) is Mix.DISTINCT
    hits = 0 if is_distinct else requests - 4
    kept = KeptLoad(hits, requests - hits, 7_340_032, 17)
    cache = {"image_features": kept, "llava_med": kept}
    return window(load, per_second, p50, stages=stages, cache=cache, **changes)


@pytest.fixture(scope="module")
def load_windows() -> list[Window]:
    """A sweep of users on distinct images whose knee is at 4, others on two mixes, and rates."""
    distinct = [(1, 9.5, 101), (2, 15.25, 128), (4, 18.5, 199), (8, 19.1, 402), (32, 19.3, 1604)]
    repeated = [(1, 31.5, 31), (8, 52.75, 148), (32, 53.5, 590)]
    sessions = [(1, 33.25, 29), (8, 56.5, 139)]
    rates = [(4, 4.0, 108), (12, 11.9, 141), (20, 18.4, 1204)]
    return [
        *(own_window(*level) for level in distinct),
        *(own_window(*level, mix=Mix.REPEATED) for level in repeated),
        *(
            own_window(
                *level,
                mix=Mix.SESSIONS,
                target="organ_seg_session",
                first_latency=latency(104),
                follow_up_latency=latency(26),
            )
            for level in sessions
        ),
        *(
            own_window(*level, loop=Loop.OPEN, rejected=int(level[0] // 20) * 13,
                       errors={"DeadlineError": 2} if level[0] == 20 else {})
            for level in rates
        ),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def peer_windows() -> list[Window]:
    """Five turns: five targets at eight users, ours at one and at 32 too, and a session."""
    means = {
        "organ_seg": 19.1,
        "fastapi_torch": 8.4,
        "litserve_torch": 17.3,
        "fastapi_graphs": 15.8,
        "in_process": 20.2,
    }
    found = []
    for turn in range(5):
        drift = 1 + 0.02 * (turn - 2)
        found += [
            window(
                2 if name == "in_process" else 8, mean * drift, 8000 / mean, target=name, turn=turn
            )
            for name, mean in means.items()
        ]
        found += [window(1, 9.5 * drift, 105, turn=turn), window(32, 18.9, 1690, turn=turn)]
        found.append(
            window(
                1,
                33.0,
                29,
                target="organ_seg_session",
                mix=Mix.SESSIONS,
                turn=turn,
                first_latency=latency(100),
                follow_up_latency=latency(27 + turn),
            )
        )
    return found  # fmt: skip


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory):
    """Writes a record as JSON and gives its file."""

    folder = tmp_path_factory.mktemp("records")

    def written(name: str, **document) -> Path:
        path = folder / f"{name}.json"
        server = {"preset": "tiny", "address": "embedded", "release": {"created": "today"}}
        path.write_text(json.dumps({"run": RUN, "server": server, **document}))
        return path

    return written


@pytest.fixture(scope="module")
def load_record(write, load_windows) -> Path:
    return write(
        "load",
        benchmark="load",
        windows=[each.to_json() for each in load_windows],
        not_measured=[{"mix": "sessions", "loop": "open", "error": "wanted a server, found none"}],
    )


@pytest.fixture(scope="module")
def peers_record(write, peer_windows) -> Path:
    knobs = {"threads": 2, "workers": 1, "at_once": 1, "batch": 4, "batch_timeout_s": 0.01}
    own = {"threads": None, "workers": 1, "at_once": 2, "batch": 1, "batch_timeout_s": 0.0}
    return write(
        "peers",
        benchmark="peers",
        preset="tiny",
        turns=5,
        users=8,
        settings={"litserve_torch": knobs, "in_process": own},
        tuning=[
            {"peer": "litserve_torch", "settings": knobs, "per_second": 17.25, "failed": 0},
            {"peer": "litserve_torch", "settings": own, "per_second": 11.75, "failed": 3},
        ],
        windows=[each.to_json() for each in peer_windows],
        critical_path_ms=88.5,
        paths=[{"turn": turn, "critical_path_ms": 88.5 + turn, "hops": 6} for turn in range(5)],
    )


@pytest.fixture(scope="module")
def follow_up_record(write) -> Path:
    server = {"preset": "tiny", "address": "embedded", "release": {"created": "today"}}
    return write(
        "follow-up",
        **RUN,
        server=None,
        servers={"reuse": server, "direct": server},
        images=30,
        rows=[
            {"image_features": "reuse", "first_ms": 111.5, "follow_up_ms": 31.25, "ratio": 0.28},
            {"image_features": "direct", "first_ms": 104.5, "follow_up_ms": 103.25, "ratio": 0.99},
        ],
    )


@pytest.fixture(scope="module")
def second_opinion_record(write) -> Path:
    levels = [
        {
            "users": users,
            "locust": {"per_second": rate, "p50_ms": 1000 * users / rate},
            "perf_analyzer": {"per_second": 0.95 * rate, "p50_ms": 1010 * users / rate},
            "rate_difference": 0.05,
            "latency_difference": 0.0123,
            "is_within_knee": users < 8,
            "agrees": True,
        }
        for users, rate in ((1, 9.75), (2, 15.5), (8, 18.25))
    ]
    return write("second-opinion", benchmark="second-opinion", levels=levels, agree=True)


@pytest.fixture(scope="module")
def soak_record(write) -> Path:
    def sample(requests: int, memory: float) -> dict:
        kept = {"hits": 1, "misses": 2, "bytes": 5_242_880, "evictions": requests // 100}
        return {"requests": requests, "memory_mib": memory, "kept": {"llava_med": kept}}

    samples = [sample(100 * n, 1300 + 100 * min(n, 10) / 10 + n % 3) for n in range(1, 101)]
    return write(
        "memory-soak",
        benchmark="memory-soak",
        requests=10_000,
        users=4,
        asked={"distinct": 4_001, "bad": 499},
        errors={},
        full=samples[10],
        end=samples[-1],
        ratio=1.0111,
        goal=1.03,
        samples=samples,
    )


@pytest.fixture(scope="module")
def every_record(
    load_record, peers_record, stages_record, follow_up_record, second_opinion_record, soak_record
) -> list[Path]:
    """One of each kind, all of one making."""
    return [
        load_record,
        peers_record,
        stages_record,
        follow_up_record,
        second_opinion_record,
        soak_record,
    ]


@pytest.fixture(scope="module")
def stages_record(write) -> Path:
    def stage(name: str, milliseconds: float) -> dict:
        return {
            "name": name,
            "requests": 50,
            "executions": 50,
            "queue_ms": 0.37,
            "compute_input_ms": 0.1,
            "compute_infer_ms": milliseconds,
            "compute_output_ms": 0.1,
            "compute_ms": milliseconds + 0.2,
            "in_server_ms": milliseconds + 0.7,
        }

    return write(
        "stages",
        **RUN,
        benchmark="stages",
        answered=50,
        errors={"ImageError": 1},
        end_to_end_ms={"mean": 99.5, "p50": 98.25, "p95": 110.0, "p99": 121.0, "min": 91.0,
                       "max": 123.0},
        stages=[stage("preprocess", 3.4), stage("image_encoder", 55.5), stage("llava_med", 71.3)],
        ensemble=stage("organ_seg", 130.0),
        critical_path={
            "stages": ["preprocess", "llava_med"],
            "compute_ms": 75.1,
            "queue_ms": 0.74,
            "hops": 2,
            "overhead_ms": 24.4,
            "overhead_per_hop_ms": 12.2,
        },
        in_process={
            "requests": 50,
            "stages_ms": {"preprocess": 3.1, "image_encoder": 41.25, "llava_med": 61.75},
            "path": ["preprocess", "llava_med"],
            "critical_path_ms": 64.85,
            "hops": 2,
            "cpu_s_per_request": 0.17,
            "overhead_per_hop_ms": 17.325,
        },
    )  # fmt: skip
