"""Windows of load on a real server and on a peer: locust, gevent and gRPC as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from benchmarks.load.plan import LoadPlan, WorkloadSpec
from benchmarks.load.running import LoadError, ServerView, run_window
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Loop, Mix
from benchmarks.workload import REPO_ROOT
from organseg.contract import ENSEMBLE_NAME

if TYPE_CHECKING:
    from http_peer import Peer

    from organseg.serving.embedded import EmbeddedServer

SMALL = WorkloadSpec(texts=("Show me the liver.",), side=64, seed=3)


@pytest.mark.server
def test_two_users_of_a_real_server_are_answered_and_its_cost_is_seen(
    ensemble_server: EmbeddedServer,
) -> None:
    told: list[int] = []
    window = run_window(
        TargetSpec(TargetKind.ORGAN_SEG, ensemble_server.grpc_address),
        LoadPlan(Mix.DISTINCT, users=2, requests=8, warm_up=1, workload=SMALL),
        ServerView(
            ensemble_server.process_group,
            ensemble_server.grpc_address,
            ensemble_server.metrics_url,
        ),
        progress=told.append,
    )
    assert window.answered >= 8
    assert (window.rejected, window.failed) == (0, 0)
    assert window.per_second == pytest.approx(window.answered / window.seconds)
    assert window.latency is not None
    assert 0 < window.latency.p50_ms <= window.latency.p99_ms <= window.latency.max_ms
    assert window.client_cpu_s >= 0
    assert window.server_cpu_s is not None
    assert window.server_cpu_s > 0
    assert window.server_memory_mib is not None
    assert window.server_memory_mib > 100
    assert window.stages is not None
    ensemble = next(stage for stage in window.stages if stage.name == ENSEMBLE_NAME)
    # Triton counts an answer after it has sent it, and is read a moment behind each edge: one or
    # two of either user may be missed or be too many.
    assert abs(ensemble.requests - window.answered) <= 4
    assert told == sorted(told)
    assert told[-1] >= 10


def test_rejections_and_errors_are_counted_apart(make_peer: Callable[..., Peer]) -> None:
    peer = make_peer((200, 200, 503, 500))
    window = run_window(
        TargetSpec(TargetKind.HTTP, peer.address, name="a peer"),
        LoadPlan(Mix.REPEATED, users=1, requests=40, warm_up=4, workload=SMALL),
    )
    assert window.target == "a peer"
    assert (window.answered, window.rejected, dict(window.errors)) == (
        20,
        10,
        {"ServerFaultError": 10},
    )
    assert window.stages is None
    assert window.server_cpu_s is None


def test_two_workers_share_the_users_of_one_window(make_peer: Callable[..., Peer]) -> None:
    peer = make_peer()
    window = run_window(
        TargetSpec(TargetKind.HTTP, peer.address),
        LoadPlan(Mix.DISTINCT, users=4, requests=40, warm_up=2, workers=2, workload=SMALL),
    )
    assert window.answered >= 40
    assert window.failed == 0
    # One connection a user, and no image twice, whichever worker sent it.
    assert peer.connections == 4
    images = [body.split(b"octet-stream")[1].split(b"\r\n--")[0] for body in peer.bodies]
    assert len(set(images)) == len(images)


def test_a_window_of_so_many_requests_with_none_ahead_sends_no_others(
    make_peer: Callable[..., Peer],
) -> None:
    peer = make_peer()
    window = run_window(
        TargetSpec(TargetKind.HTTP, peer.address),
        LoadPlan(Mix.DISTINCT, users=3, requests=6, warm_up=0, workload=SMALL),
    )
    assert window.answered == len(peer.bodies) == 6


def test_an_open_loop_asks_at_its_rate_whatever_the_number_of_users(
    make_peer: Callable[..., Peer],
) -> None:
    peer = make_peer()
    window = run_window(
        TargetSpec(TargetKind.HTTP, peer.address),
        LoadPlan(Mix.DISTINCT, Loop.OPEN, users=4, rate_per_s=20.0, seconds=4.0, workload=SMALL),
    )
    # Users regular each: in whole periods (4 / 20 s) all of them ask once; edges may cut one each.
    assert abs(window.answered - 20.0 * window.seconds) <= 16
    assert window.rate_per_s == 20.0


def test_a_target_that_cannot_be_reached_is_an_error_with_a_remedy(
    make_peer: Callable[..., Peer],
) -> None:
    peer = make_peer()
    peer.shutdown()
    peer.server_close()
    with pytest.raises(LoadError, match="whether the server runs"):
        run_window(
            TargetSpec(TargetKind.HTTP, peer.address),
            LoadPlan(Mix.DISTINCT, requests=1, workload=SMALL),
        )


def test_nothing_of_gevent_or_locust_enters_the_process_that_measures() -> None:
    script = (
        "import sys; import benchmarks.load.running, benchmarks.load.command; "
        "print([name for name in ('gevent', 'locust') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
