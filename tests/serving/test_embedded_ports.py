"""Where a server may listen."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from organseg.errors import ServerStartError
from organseg.serving.embedded import ServerOptions
from organseg.serving.embedded.ports import claim_endpoints


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _options(**values: object) -> ServerOptions:
    return ServerOptions(**({"grpc_port": 0, "http_port": 0, "metrics_port": 0} | values))


def test_picked_ports_differ_and_are_free_again() -> None:
    endpoints = claim_endpoints(_options())
    ports = {endpoints.grpc_port, endpoints.http_port, endpoints.metrics_port}
    assert len(ports) == 3
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


@pytest.mark.parametrize("field", ["grpc_port", "http_port", "metrics_port"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_named_with_its_option(busy_port: int, field: str, host: str) -> None:
    option = "--" + field.replace("_", "-")
    with pytest.raises(ServerStartError, match=rf"port {busy_port} .*in use.* with {option}"):
        claim_endpoints(_options(host=host, **{field: busy_port}))


def test_a_host_name_becomes_a_numeric_address() -> None:
    assert claim_endpoints(_options(host="localhost")).address == "127.0.0.1"


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host", "a" * 300, "::1"])
def test_a_host_that_is_not_this_machine_names_the_option(host: str) -> None:
    with pytest.raises(ServerStartError, match="--host"):
        claim_endpoints(_options(host=host))


def test_this_machine_reaches_a_server_on_all_networks_by_loopback() -> None:
    endpoints = claim_endpoints(_options(host="0.0.0.0"))
    assert endpoints.local_host == "127.0.0.1"
    assert not endpoints.is_loopback
    assert claim_endpoints(_options(host="127.0.0.1")).is_loopback
