"""Both clients on real servers: every verb, and what they do when a stage or a server dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Calls

from organseg import errors
from organseg.contract import CONTRACT_VERSION, ENSEMBLE_NAME, TINY, models_of
from organseg.imaging.encoding import encode_sample
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import HealthState

pytestmark = pytest.mark.server

IMAGE = np.add.outer(np.arange(80), np.arange(64)).astype(np.uint8)
QUESTION = "Which organ stores bile?"

Open = Callable[..., Calls]


@pytest.fixture(params=[Calls, AsyncCalls], ids=["sync", "async"])
def open_calls(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Makes a client of either kind of the servers at some addresses."""
    made: list[Calls] = []

    def make(*urls: str) -> Calls:
        made.append(request.param(urls, deadline_s=60))
        return made[-1]

    yield make
    for calls in made:
        calls.call("close")
        calls.end()


def test_every_verb_is_answered(open_calls: Open, server_address: str, release: Path) -> None:
    calls = open_calls(server_address)
    calls.call("connect")

    result = calls.call("segment", IMAGE, QUESTION)
    assert (result.server, result.timings.attempts) == (server_address, 1)
    assert result.masks.shape[1:] == IMAGE.shape

    requests: list[Any] = [(IMAGE, QUESTION), (b"no image", QUESTION), (encode_sample(), QUESTION)]
    outcomes = list(calls.each(calls.client.segment_many(requests, concurrency=2)))
    assert [type(outcome.error) for outcome in outcomes] == [
        type(None),
        errors.ImageError,
        type(None),
    ]
    np.testing.assert_array_equal(outcomes[0].unwrap().masks, result.masks)

    found = calls.call("capabilities")
    assert (found.preset, found.contract_version) == ("tiny", CONTRACT_VERSION)
    assert found.release.made == verify_release(release).created
    assert found.release.trained is False
    assert "not a medical device" in found.intended_use

    assert calls.call("health").is_healthy

    (counted,) = calls.call("statistics").servers
    models = {model.name: model for model in counted.models}
    assert {ENSEMBLE_NAME, *(model.name for model in models_of(TINY))} <= set(models)
    assert models["gate"].successes >= 3
    assert models["gate"].mean_batch >= 1
    assert models["image_encoder"].compute_ms > 0


def test_a_dead_stage_is_seen_and_another_server_takes_over(
    open_calls: Open, server_address: str, release: Path
) -> None:
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe()) as ill:
        calls = open_calls(ill.grpc_address, server_address)
        assert calls.call("segment", IMAGE, QUESTION).server == ill.grpc_address

        os.kill(_process_of("gate_0_0", ill.process_group), signal.SIGKILL)

        alone = open_calls(ill.grpc_address)
        with pytest.raises(errors.StageDeadError):
            alone.call("segment", IMAGE, QUESTION)
        # It calls itself ready all the same.
        alone.call("connect")

        first, second = (calls.call("segment", IMAGE, QUESTION) for _ in range(2))
        assert {first.server, second.server} == {server_address}
        assert sorted([first.timings.attempts, second.timings.attempts]) == [1, 2]
        states = [server.state for server in calls.call("health").servers]
        assert states == [HealthState.FAULTY, HealthState.HEALTHY]

    states = [server.state for server in calls.call("health").servers]
    assert states == [HealthState.UNREACHABLE, HealthState.HEALTHY]
    assert calls.call("segment", IMAGE, QUESTION).server == server_address


def _process_of(instance: str, group: int) -> int:
    """The process of one stage's instance, among those of a server."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if instance.encode() in words and os.getpgid(int(folder.name)) == group:
                return int(folder.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"no process of {instance}")
