"""An open image of both clients on real servers: `segment`'s answers, a loss, a server's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_fakes import AsyncCalls, Calls

from constructed import PICTURES
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER
from organseg_client import ImageSent

pytestmark = pytest.mark.server

QUESTIONS = ("Which organ stores bile?", "Segment the spleen", "What is the capital of France?")

Open = Callable[..., Calls]


@pytest.fixture
def open_either() -> Iterator[Callable[[type[Calls], tuple[str, ...]], Calls]]:
    """Makes a client of the kind that a test wants, of the servers at some addresses."""
    made: list[Calls] = []

    def make(kind: type[Calls], urls: tuple[str, ...]) -> Calls:
        made.append(kind(urls, deadline_s=60))
        return made[-1]

    yield make
    for calls in made:
        calls.call("close")
        calls.end()


@pytest.fixture(params=[Calls, AsyncCalls], ids=["sync", "async"])
def open_calls(request: pytest.FixtureRequest, open_either: Any) -> Open:
    """Makes a client of either kind of the servers at some addresses."""
    return lambda *urls: open_either(request.param, urls)


@pytest.fixture(scope="module")
def forgetful(release: Path) -> Iterator[EmbeddedServer]:
    """A server that knows one session: it forgets an image as soon as another is opened."""
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, stop_timeout_s=1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ORGANSEG_SESSION_HANDLES", "1")
        server = EmbeddedServer(release / MODELS_FOLDER, options, probe=EnsembleProbe())
        with server:
            yield server


def check(calls: Calls, scan: Any, picture: bytes, question: str) -> Any:
    """The open image's answer, which is `segment`'s."""
    wanted, result = calls.call("segment", picture, question), scan.call("ask", question)
    assert (result.verdict, result.organs) == (wanted.verdict, wanted.organs)
    np.testing.assert_array_equal(result.masks, wanted.masks)
    np.testing.assert_array_equal(result.image.pixels(), wanted.image.pixels())
    return result


def test_an_open_image_answers_as_segment_does(open_calls: Open, server_address: str) -> None:
    calls = open_calls(server_address)
    assert calls.call("capabilities").keeps_images
    for picture in PICTURES[:2]:
        scan = calls.on(calls.call("open", picture))
        for question in QUESTIONS:
            assert check(calls, scan, picture, question).timings.attempts == 1
        assert (scan.client.times_encoded, scan.client.image_sent) == (1, ImageSent.ONCE)
        assert scan.client.lifetime_s > 0


def test_an_image_that_the_server_forgot_is_sent_again(
    open_calls: Open, forgetful: EmbeddedServer
) -> None:
    calls = open_calls(forgetful.grpc_address)
    first, second = (calls.on(calls.call("open", picture)) for picture in PICTURES[:2])
    assert check(calls, second, PICTURES[1], QUESTIONS[0]).timings.attempts == 1
    assert check(calls, first, PICTURES[0], QUESTIONS[0]).timings.attempts == 2
    assert (first.client.times_encoded, second.client.times_encoded) == (2, 1)
    # Now the other one is forgotten; one question has it encoded for all.
    answers = second.together("ask", [(question,) for question in QUESTIONS])
    assert [len(answer.organs) for answer in answers] == [1, 1, 1]
    assert second.client.times_encoded == 2


def test_an_open_image_moves_where_its_server_ends(
    open_either: Any, forgetful: EmbeddedServer, server_address: str
) -> None:
    asked = []
    for kind, picture in zip((Calls, AsyncCalls), PICTURES, strict=False):
        calls = open_either(kind, (forgetful.grpc_address, server_address))
        scan = calls.on(calls.call("open", picture))
        assert scan.client.server == forgetful.grpc_address
        asked.append((calls, scan, picture))
    forgetful.stop()
    for calls, scan, picture in asked:
        assert check(calls, scan, picture, QUESTIONS[0]).server == server_address
        assert (scan.client.server, scan.client.times_encoded) == (server_address, 2)
