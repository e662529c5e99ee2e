"""The transports over Triton's gRPC protocol, one for threads and one for asyncio.

Both are thin: what is sent and how answers are read is one set of programs (`programs.py`) that
yield calls and never touch a socket, so that nothing is written twice. They use the generated
service of `tritonclient` rather than its clients, which allow one stream a
connection.
"""

from organseg_client.transports.grpc import GrpcTransport
from organseg_client.transports.grpc_aio import AsyncGrpcTransport

__all__ = ["AsyncGrpcTransport", "GrpcTransport"]
