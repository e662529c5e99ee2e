"""The embedded server: the real Triton of the `nvidia-pytriton` wheel, launched and supervised.

    with EmbeddedServer(release / "models", ServerOptions(grpc_port=0)) as server:
        ...  # server.grpc_address answers

Importing this needs neither gRPC nor Triton; both are looked for when a server starts.
"""

from organseg.serving.embedded.options import LogLevel, ServerOptions
from organseg.serving.embedded.probe import EnsembleProbe
from organseg.serving.embedded.process import EmbeddedServer
from organseg.serving.embedded.readiness import Probe

__all__ = ["EmbeddedServer", "EnsembleProbe", "LogLevel", "Probe", "ServerOptions"]
