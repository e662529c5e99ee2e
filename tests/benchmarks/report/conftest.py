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


@pytest.fixture
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


@pytest.fixture
def peer_windows() -> list[Window]:
    """Five turns of five targets at one user and at eight."""
    means = {
        "organ_seg": (9.5, 19.1),
        "fastapi_torch": (6.2, 8.4),
        "litserve_torch": (5.9, 12.3),
        "fastapi_graphs": (9.1, 15.8),
        "in_process": (10.4, 20.2),
    }
    return [
        window(users, mean * (1 + 0.02 * (turn - 2)), 1000 * users / mean, target=name, turn=turn)
        for turn in range(5)
        for name, pair in means.items()
        for users, mean in zip((1, 8), pair, strict=True)
    ]


@pytest.fixture
def write(tmp_path: Path):
    """Writes a record as JSON and gives its file."""

    def written(name: str, **document) -> Path:
        path = tmp_path / f"{name}.json"
        server = {"preset": "tiny", "address": "embedded", "release": {"created": "today"}}
        path.write_text(json.dumps({"run": RUN, "server": server, **document}))
        return path

    return written


@pytest.fixture
def load_record(write, load_windows) -> Path:
    return write("load", benchmark="load", windows=[each.to_json() for each in load_windows])


@pytest.fixture
def peers_record(write, peer_windows) -> Path:
    return write(
        "peers",
        benchmark="peers",
        preset="tiny",
        turns=5,
        windows=[each.to_json() for each in peer_windows],
    )
