"""Waiting until a server answers: first its port, then its word, then a real inference.

Triton may call itself ready while a model's process is dead, so only an answer counts.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from organseg.errors import ServerBusyError, ServerUnreachableError
from organseg.serving.embedded.probe import DIRECT_CHANNEL

Probe = Callable[[str], None]
"""Asks the server at a gRPC address (`host:port`) something real; raises where it fails."""

_LOOK_EVERY_S = 0.05
_ANSWER_WITHIN_S = 5.0


class NotReadyInTimeError(Exception):
    """The deadline passed; the message says what was still missing."""


def wait_until_ready(
    host: str,
    port: int,
    probe: Probe | None,
    *,
    name: str,
    deadline: float,
    pause: Callable[[float], None],
) -> None:
    """Returns once the server at `host:port` is ready and the probe, if any, has passed.

    `name` is the server's id: another server that has the port is not taken for it. `deadline`
    is on `time.monotonic`'s clock. `pause` waits that many seconds, or less where the server
    ends, which it reports by raising. Raises `NotReadyInTimeError` at the deadline, and whatever
    the probe raises but busy and unreachable, which are tried again.
    """
    address = f"{host}:{port}"
    # gRPC waits a second or more after a refused connection; a plain socket does not.
    _repeat(lambda: is_open(host, port), "the gRPC port is not open yet", deadline, pause)
    _repeat(lambda: _says_ready(address, name), "not all models are loaded", deadline, pause)
    if probe is not None:
        answers = probe
        _repeat(lambda: _passes(answers, address), "no answer from the models", deadline, pause)


def _repeat(
    is_done: Callable[[], bool],
    missing: str,
    deadline: float,
    pause: Callable[[float], None],
) -> None:
    while not is_done():
        if time.monotonic() >= deadline:
            raise NotReadyInTimeError(missing)
        pause(_LOOK_EVERY_S)


def is_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_WITHIN_S):
            return True
    except OSError:
        return False


def _says_ready(address: str, name: str) -> bool:
    # Imported here: this package can be imported, and options checked, without gRPC.
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    client: Any = grpc.InferenceServerClient(address, channel_args=DIRECT_CHANNEL)
    try:
        metadata = client.get_server_metadata(client_timeout=_ANSWER_WITHIN_S)
        return metadata.name == name and bool(
            client.is_server_ready(client_timeout=_ANSWER_WITHIN_S)
        )
    except InferenceServerException:
        return False
    finally:
        client.close()


def _passes(probe: Probe, address: str) -> bool:
    try:
        probe(address)
    except (ServerBusyError, ServerUnreachableError):
        return False
    return True
