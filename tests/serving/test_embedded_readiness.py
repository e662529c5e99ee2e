"""When a server counts as ready; a listening socket stands for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from organseg.errors import ServerBusyError, ServerFaultError, ServerStartError
from organseg.serving.embedded import readiness
from organseg.serving.embedded.readiness import NotReadyInTimeError, wait_until_ready


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def ready_server(port: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(readiness, "_says_ready", lambda *_: True)
    return port


def _no_pause(_: float) -> None:
    pass


def test_the_probe_is_asked_again_while_the_server_is_busy(ready_server: int) -> None:
    answers = [ServerBusyError("queue full"), ServerBusyError("queue full"), None]
    asked = []

    def probe(address: str) -> None:
        asked.append(address)
        if error := answers.pop(0):
            raise error

    deadline = time.monotonic() + 60
    wait_until_ready(
        "127.0.0.1", ready_server, probe, name="ours", deadline=deadline, pause=_no_pause
    )
    assert asked == [f"127.0.0.1:{ready_server}"] * 3


def test_a_failing_probe_is_not_asked_again(ready_server: int) -> None:
    def probe(_: str) -> None:
        raise ServerFaultError("the model broke")

    with pytest.raises(ServerFaultError, match="the model broke"):
        wait_until_ready(
            "127.0.0.1",
            ready_server,
            probe,
            name="ours",
            deadline=time.monotonic() + 60,
            pause=_no_pause,
        )


def test_a_server_that_stays_busy_misses_the_deadline(ready_server: int) -> None:
    def probe(_: str) -> None:
        raise ServerBusyError("queue full")

    with pytest.raises(NotReadyInTimeError, match="no answer from the models"):
        wait_until_ready(
            "127.0.0.1", ready_server, probe, name="ours", deadline=0.0, pause=_no_pause
        )


def test_a_closed_port_misses_the_deadline() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NotReadyInTimeError, match="port is not open"):
            wait_until_ready("127.0.0.1", port, None, name="ours", deadline=0.0, pause=_no_pause)


def test_a_server_that_ends_while_it_is_waited_for_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_says_ready", lambda *_: False)

    def pause(_: float) -> None:
        raise ServerStartError("the server ended")

    with pytest.raises(ServerStartError, match="the server ended"):
        wait_until_ready(
            "127.0.0.1", port, None, name="ours", deadline=time.monotonic() + 60, pause=pause
        )
