"""The connection that both transports make: address, channel arguments, credentials, errors."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import organseg
from organseg.errors import InvalidInputError, OrganSegError, ServerUnreachableError
from organseg_client.options import ApiKey, Tls
from organseg_client.status import error_of_status

__all__ = [
    "PATIENCE_S",
    "Endpoint",
    "closed_error",
    "error_of_call",
    "make_endpoint",
    "service_of",
]

PATIENCE_S = 5.0
"""How long closing waits at most for a server that still uses shared memory, seconds."""

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(\d{1,5})")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEADER = re.compile(r"[a-z0-9_.-]+")

_LARGEST_MESSAGE_BYTES = 2**31 - 1
_CHANNEL_ARGUMENTS: tuple[tuple[str, int | str], ...] = (
    # gRPC's own limit is 4 MB, and masks of 13 organs are larger.
    ("grpc.max_send_message_length", _LARGEST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    # A connection of its own for each client: closing one and opening another then truly
    # reconnects, instead of getting a connection back that gRPC has kept for the address.
    ("grpc.use_local_subchannel_pool", 1),
    # Left alone gRPC waits ever longer, up to two minutes, before it looks again for a server that
    # was gone, and refuses all calls meanwhile. When to try again is for the client's retries.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.primary_user_agent", f"organseg-client/{organseg.__version__}"),
)


@dataclass(frozen=True)
class Endpoint:
    """Everything that a channel to one server is made of."""

    url: str
    """`HOST:PORT` of Triton's gRPC service."""
    is_loopback: bool
    """Whether the address is this machine's own."""
    credentials: Any = field(repr=False)
    """`grpc.ChannelCredentials`; None without TLS."""
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    """The headers of every call."""

    def open(self, grpc: Any) -> Any:
        """A channel, which connects on the first call, of `grpc` or of `grpc.aio`."""
        arguments = list(_CHANNEL_ARGUMENTS)
        if self.is_loopback:
            # A proxy in the environment is for other machines; gRPC would ask it for this one.
            arguments.append(("grpc.enable_http_proxy", 0))
        if self.credentials is None:
            return grpc.insecure_channel(self.url, options=arguments)
        return grpc.secure_channel(self.url, self.credentials, options=arguments)


def make_endpoint(url: str, tls: Tls | None, api_key: ApiKey | None) -> Endpoint:
    """The endpoint at `HOST:PORT`.

    Raises `InvalidInputError` where the address is none, a file of `tls` cannot be used, or the
    key cannot be sent as a header.
    """
    address = _ADDRESS.fullmatch(url)
    if address is None or not 0 < int(address[2]) < 2**16:
        raise InvalidInputError(
            f"wanted a server address HOST:PORT, got {url!r}; write for example localhost:8001"
        )
    return Endpoint(
        url=url,
        is_loopback=address[1] in _LOOPBACK,
        credentials=None if tls is None else _credentials(tls),
        metadata=() if api_key is None else (_header(api_key),),
    )


def service_of(channel: Any) -> Any:
    """Triton's service on a channel."""
    from tritonclient.grpc import service_pb2_grpc

    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def error_of_call(error: Any) -> OrganSegError:
    """The error to raise for a `grpc.RpcError`."""
    return error_of_status(error.code().name, str(error.details() or ""))


def closed_error() -> ServerUnreachableError:
    """The error of a call on a transport that was closed."""
    return ServerUnreachableError(
        "wanted an open connection, this one was closed; make another client"
    )


def _header(api_key: ApiKey) -> tuple[str, str]:
    # gRPC would refuse these too, with the key in its message.
    header, key = api_key.header.lower(), api_key.key
    if not _HEADER.fullmatch(header) or header.startswith("grpc-") or header.endswith("-bin"):
        raise InvalidInputError(
            "wanted the name of a header that holds text, got another; use letters, digits, "
            "'-', '_' and '.', for example authorization"
        )
    if not key or not key.isascii() or not key.isprintable():
        raise InvalidInputError(
            "wanted an API key of printable ASCII characters, got another (not shown); look for "
            "a line end behind it"
        )
    return header, key


def _credentials(tls: Tls) -> Any:
    # Only here, so that the package imports fast and works with other transports without it.
    import grpc

    if tls.private_key is None and tls.certificate_chain is not None:
        raise InvalidInputError(
            "wanted the private key of the certificate chain, got none; give both to Tls, or none"
        )
    if tls.private_key is not None and tls.certificate_chain is None:
        raise InvalidInputError(
            "wanted the certificate chain of the private key, got none; give both to Tls, or none"
        )
    _check_certificates(tls)
    return grpc.ssl_channel_credentials(
        *(
            None if path is None else path.read_bytes()
            for path in (tls.root_certificates, tls.private_key, tls.certificate_chain)
        )
    )


def _check_certificates(tls: Tls) -> None:
    """Reads the files by OpenSSL: of unusable ones gRPC says only that it cannot connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    part = "root_certificates"
    try:
        if tls.root_certificates is not None:
            context.load_verify_locations(cafile=tls.root_certificates)
        part = "private_key and certificate_chain"
        if tls.certificate_chain is not None and tls.private_key is not None:
            _refuse_encrypted(tls.private_key)
            context.load_cert_chain(tls.certificate_chain, tls.private_key)
    except ssl.SSLError as error:
        raise InvalidInputError(
            f"wanted PEM files that fit each other as {part} of Tls, got: "
            f"{error.reason or 'no certificate'}; check which file is which, and that the key is "
            "the certificate's"
        ) from error
    except OSError as error:
        raise InvalidInputError(
            f"wanted files that can be read as {part} of Tls, got: {error.strerror}; check the "
            "paths and their permissions"
        ) from error


def _refuse_encrypted(private_key: Path) -> None:
    # OpenSSL would ask for the password on the terminal; gRPC takes no such key at all.
    if b"ENCRYPTED" in private_key.read_bytes():
        raise InvalidInputError(
            "wanted a private key without a password, got an encrypted one; decrypt it, for "
            "example by: openssl pkey -in KEY -out KEY.plain"
        )
