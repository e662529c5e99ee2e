"""`capabilities`, `health` and `statistics` through both clients, on fakes."""

from __future__ import annotations

import pytest
from client_fakes import FakeTransport
from scenarios import DEAD, IMAGE, QUESTION, UNREACHABLE, Open, inferences

from organseg import errors
from organseg.contract import CONTRACT_PARAMETER, CONTRACT_VERSION, Fact
from organseg.organs import ORGANS
from organseg_client import (
    HealthState,
    ModelStatistics,
)


def test_capabilities_say_what_can_be_asked_and_what_answers(open_calls: Open) -> None:
    fake = FakeTransport(
        explains=True,
        parameters={
            CONTRACT_PARAMETER: CONTRACT_VERSION,
            Fact.PRESET.parameter: "tiny",
            Fact.LICENCE.parameter: "Apache-2.0",
            Fact.INTENDED_USE.parameter: "research",
            Fact.MADE.parameter: "2026-08-01T10:00:00+00:00",
            Fact.TRAINED.parameter: "true",
            Fact.SOURCE.parameter: "phantoms",
        },
    )
    found = open_calls(fake).call("capabilities")
    assert [(organ.id, organ.name) for organ in found.organs] == [
        (organ.id, organ.name) for organ in ORGANS
    ]
    assert (found.preset, found.licence, found.intended_use) == ("tiny", "Apache-2.0", "research")
    assert (found.release.made, found.release.trained, found.release.source) == (
        "2026-08-01T10:00:00+00:00",
        True,
        "phantoms",
    )
    assert (found.contract_version, found.server_version) == (CONTRACT_VERSION, "2.51.0")
    assert found.can_explain
    assert found.to_dict()["organs"][0]["letter"] == "A"


def test_capabilities_of_a_server_that_says_little_make_nothing_up(open_calls: Open) -> None:
    found = open_calls(FakeTransport()).call("capabilities")
    assert found.licence == found.intended_use == "not stated by the server"
    assert (found.release.made, found.release.trained) == (None, None)
    assert not found.can_explain


def test_health_asks_every_server_a_real_question(open_calls: Open) -> None:
    fleet = [
        FakeTransport(),
        FakeTransport(failure=DEAD),
        FakeTransport(ready=False),
        FakeTransport(failure=UNREACHABLE),
        FakeTransport(parameters={CONTRACT_PARAMETER: "another"}),
        FakeTransport(failure=errors.AuthenticationError("no")),
        FakeTransport(failure=errors.DeadlineExceededError("no")),
        FakeTransport(changed_outputs={"MASKS": None}),
    ]
    calls = open_calls(*fleet)
    found = calls.call("health")
    assert [server.state for server in found.servers] == [
        HealthState.HEALTHY,
        HealthState.FAULTY,
        HealthState.NOT_READY,
        HealthState.UNREACHABLE,
        HealthState.OTHER_CONTRACT,
        HealthState.REFUSED,
        HealthState.SILENT,
        HealthState.FAULTY,
    ]
    assert [server.url for server in found.servers][:2] == ["server-0:8001", "server-1:8001"]
    assert not found.is_healthy
    assert str(DEAD) == found.servers[1].words
    assert inferences(*fleet) == [1, 1, 0, 1, 0, 1, 1, 1]


def test_questions_keep_away_from_a_server_that_was_found_ill(open_calls: Open) -> None:
    ill, well = FakeTransport(failure=DEAD), FakeTransport()
    calls = open_calls(ill, well)
    assert not calls.call("health").is_healthy
    assert calls.call("segment", IMAGE, QUESTION).timings.attempts == 1
    ill.failure = None
    assert calls.call("health").is_healthy
    calls.call("segment", IMAGE, QUESTION)
    assert inferences(ill, well) == [3, 3]


COUNTS = ModelStatistics("gate", "1", 10, 1, 5, 10, 0.5, 0.25, 2.0, 0.75)


def test_statistics_are_kept_apart_by_server(open_calls: Open) -> None:
    calls = open_calls(FakeTransport(models=(COUNTS,)), FakeTransport(failure=UNREACHABLE))
    found = calls.call("statistics")
    assert found.servers[0].models == (COUNTS,)
    assert (COUNTS.mean_batch, COUNTS.compute_ms) == (2.0, 3.0)
    assert found.servers[1].error is UNREACHABLE
    assert found.to_dict()["servers"][0]["models"][0]["mean_batch"] == 2.0


def test_statistics_of_no_server_are_an_error(open_calls: Open) -> None:
    with pytest.raises(errors.ServerUnreachableError) as caught:
        open_calls(FakeTransport(failure=UNREACHABLE)).call("statistics")
    assert caught.value is UNREACHABLE
