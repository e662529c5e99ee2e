"""Where the server listens: a numeric address and three ports known to be free."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from organseg.errors import ServerStartError
from organseg.serving.embedded.options import ServerOptions


@dataclass(frozen=True)
class Endpoints:
    """The address and ports of one server."""

    address: str
    """The numeric IPv4 address that it listens on."""
    grpc_port: int
    """Port of gRPC."""
    http_port: int
    """Port of HTTP."""
    metrics_port: int
    """Port of the metrics."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.IPv4Address(self.address).is_loopback

    @property
    def local_host(self) -> str:
        """The address by which this machine reaches it."""
        unspecified = ipaddress.IPv4Address(self.address).is_unspecified
        return "127.0.0.1" if unspecified else self.address


def claim_endpoints(options: ServerOptions) -> Endpoints:
    """The endpoints for these options: each port tried, and picked where it is 0.

    All ports are held together while they are tried, so picked ones differ; they are free
    again on return, since Triton opens them by number. Raises `ServerStartError` that names
    the port and its option where one is taken, and the host where it is none of this machine.
    """
    address = _resolve(options.host)
    wanted = {
        "--grpc-port": options.grpc_port,
        "--http-port": options.http_port,
        "--metrics-port": options.metrics_port,
    }
    with ExitStack() as held:
        # Named ports first: a picked one must not take a number that was asked for.
        bound = {
            option: _bind(held, address, port, option)
            for option, port in sorted(wanted.items(), key=lambda item: item[1] == 0)
        }
        return Endpoints(
            address=address,
            grpc_port=bound["--grpc-port"],
            http_port=bound["--http-port"],
            metrics_port=bound["--metrics-port"],
        )


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ServerStartError(
            f"wanted an IPv4 address or a host name of this machine, got {host!r}: "
            "change --host (127.0.0.1 for this machine only, 0.0.0.0 for all networks)"
        ) from None
    return str(found[0][4][0])


def _bind(held: ExitStack, address: str, port: int, option: str) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # As servers do: a port that only lingers after its last owner counts as free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerStartError(
                f"port {port} on {address} is in use by another process: stop that process, "
                f"or choose another port with {option} (0 picks a free one)"
            ) from None
        if error.errno == errno.EACCES:
            raise ServerStartError(
                f"this user may not open port {port}: choose one above 1023 with {option}"
            ) from None
        raise ServerStartError(
            f"cannot listen on {address} ({error.strerror}): choose an address of this machine "
            "with --host (127.0.0.1 for this machine only, 0.0.0.0 for all networks)"
        ) from None
    return int(listener.getsockname()[1])
