"""How the embedded server is to run: addresses, ports, threads, patience, log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from organseg.contract import CpuEngine
from organseg.errors import ServerStartError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_GRPC_PORT = 8001
DEFAULT_HTTP_PORT = 8000
DEFAULT_METRICS_PORT = 8002
DEFAULT_READY_TIMEOUT_S = 300.0
DEFAULT_STOP_TIMEOUT_S = 15


class LogLevel(Enum):
    """How much the server writes to its log; each level includes those before it."""

    ERROR = "error"
    """What failed."""
    WARNING = "warning"
    """What looks wrong."""
    INFO = "info"
    """Loading, unloading, addresses."""
    VERBOSE = "verbose"
    """Every request's way through the server; never tensors."""


@dataclass(frozen=True)
class ServerOptions:
    """How the embedded server is to run; raises `ServerStartError` for impossible values."""

    host: str = DEFAULT_HOST
    """The IPv4 address or host name to listen on; beyond loopback, statistics need the key too."""
    grpc_port: int = DEFAULT_GRPC_PORT
    """Port of gRPC; 0 picks a free one."""
    http_port: int = DEFAULT_HTTP_PORT
    """Port of HTTP; 0 picks a free one."""
    metrics_port: int = DEFAULT_METRICS_PORT
    """Port of the Prometheus metrics; 0 picks a free one."""
    threads: int | None = None
    """Most threads of the numeric libraries in one model; None leaves it to each model."""
    engine: CpuEngine | None = None
    """What runs every graph; None leaves it to each model."""
    ready_timeout_s: float = DEFAULT_READY_TIMEOUT_S
    """How long loading and the first inference may take together, seconds."""
    stop_timeout_s: int = DEFAULT_STOP_TIMEOUT_S
    """How long requests in flight may take to finish when the server stops, seconds."""
    log_level: LogLevel = LogLevel.INFO
    """How much goes to the log."""
    log_file: Path | None = None
    """Where the log is appended; None keeps it only as long as the server runs."""
    admin_key: str | None = None
    """Opens admin calls (model control, shared memory, trace, log settings); None makes one that
    nobody knows. Other users of this machine can read it in the list of processes."""

    def __post_init__(self) -> None:
        """Refuses values that no server can run with."""
        ports = {
            "--grpc-port": self.grpc_port,
            "--http-port": self.http_port,
            "--metrics-port": self.metrics_port,
        }
        for option, port in ports.items():
            if not 0 <= port <= 65535:
                raise ServerStartError(
                    f"wanted a port from 0 (pick a free one) to 65535, got {port}: change {option}"
                )
        named = [port for port in ports.values() if port]
        if len(set(named)) < len(named):
            raise ServerStartError(
                f"wanted three different ports, got {', '.join(map(str, ports.values()))}: "
                f"change one of {', '.join(ports)}"
            )
        if self.threads is not None and self.threads < 1:
            raise ServerStartError(
                f"wanted one thread or more, got {self.threads}: change --threads"
            )
        # `not >` so that NaN is refused too.
        if not self.ready_timeout_s > 0:
            raise ServerStartError(
                f"wanted a positive number of seconds, got {self.ready_timeout_s}: "
                "change --ready-timeout"
            )
        if self.stop_timeout_s < 1:
            raise ServerStartError(
                f"wanted one second or more to stop in, got {self.stop_timeout_s}: "
                "change --stop-timeout"
            )
        if self.admin_key is not None and not self.admin_key.isalnum():
            raise ServerStartError("wanted letters and digits only in the admin key: change it")

    @property
    def picks_ports(self) -> bool:
        """Whether any port is to be picked rather than named."""
        return 0 in (self.grpc_port, self.http_port, self.metrics_port)
