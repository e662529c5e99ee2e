"""`organseg health`: what a container's health check learns from a real server and from none."""

from __future__ import annotations

import socket

import pytest

from organseg.__main__ import main


@pytest.mark.server
def test_a_server_that_answers_is_healthy(
    server_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", "--url", server_address]) == 0
    assert capsys.readouterr().out.startswith(f"{server_address} answered in ")


@pytest.mark.server
def test_an_answer_that_takes_too_long_is_unhealthy(
    left_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", "--url", left_address, "--timeout", "0.001"]) == 1
    assert "within 0.001 s" in capsys.readouterr().err


def test_without_a_server_nothing_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert main(["health", "--url", address, "--timeout", "10"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("organseg: no connection to the server")
