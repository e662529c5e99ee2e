"""Who is asked: one client per user, built from a description that travels to the load process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from benchmarks.workload import Question
from organseg.errors import InvalidInputError, NotServedError
from organseg_client import (
    ApiKey,
    ConnectionOptions,
    OrganSegClient,
    RetryPolicy,
    SharedMemory,
    Tls,
)
from organseg_client.command.connection import API_KEY_VARIABLE


class TargetKind(Enum):
    """How a target is asked."""

    ORGAN_SEG = "organ_seg"
    """`OrganSegClient.segment`: image and question over gRPC."""
    ORGAN_SEG_SESSION = "organ_seg_session"
    """`OrganSegClient.open`, then `ask`: the image once, then questions alone."""
    HTTP = "http"
    """A peer: POST /segment with image and question as a multipart form."""


@dataclass(frozen=True)
class TargetSpec:
    """A target as plain values; keys are not in it, they come from the environment or a file."""

    kind: TargetKind
    """How it is asked."""
    address: str
    """`HOST:PORT`; several Organ-Seg servers with commas between."""
    name: str = ""
    """What records call it; the kind's own word if empty."""
    deadline_s: float = 120.0
    """Seconds that a request may take."""
    shared_memory: str = "off"
    """`auto`, `off` or `required`: whether large tensors bypass the connection."""
    tls: bool = False
    """Whether the connection is encrypted."""
    tls_root: str | None = None
    """PEM file of the authorities; the system's if None."""
    tls_certificate: str | None = None
    """PEM file of this client's certificate chain."""
    tls_key: str | None = None
    """PEM file of its private key."""
    api_key_file: str | None = None
    """File that holds the server's key; the environment's key if None."""
    api_key_header: str = ApiKey.header
    """The header that carries the key."""

    @property
    def label(self) -> str:
        """The target's name in records."""
        return self.name or self.kind.value

    def to_json(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "kind": self.kind.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TargetSpec:
        """The target that `to_json` described."""
        return cls(**{**document, "kind": TargetKind(document["kind"])})


class Target(Protocol):
    """One user's client."""

    def ask(self, question: Question) -> None:
        """Sends one image and question and reads the whole answer.

        A session target opens the image where it differs from the last one. Raises
        `OrganSegError`: `ServerBusyError` where the server turned the request away.
        """
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


def build_target(spec: TargetSpec) -> Target:
    """The client that a description stands for, connected; nothing is asked yet.

    Raises `OrganSegError` where nobody answers, and `NotServedError` for a session target where
    the client library knows no sessions.
    """
    if spec.kind is TargetKind.HTTP:
        # Only here: the module is of no use to the others.
        from benchmarks.load.http_target import HttpTarget

        return HttpTarget(spec.address, spec.deadline_s)
    client = OrganSegClient(
        spec.address.split(","), deadline_s=spec.deadline_s, options=connection_options(spec)
    )
    if spec.kind is TargetKind.ORGAN_SEG:
        target: Target = WholeRequests(client)
    else:
        target = Sessions(client)
    client.connect()
    return target


def connection_options(spec: TargetSpec) -> ConnectionOptions:
    """The way to the server; a call is sent once, so that what is turned away is counted."""
    return ConnectionOptions(
        retry=RetryPolicy(attempts=1),
        tls=_tls(spec),
        api_key=_api_key(spec),
        shared_memory=SharedMemory(spec.shared_memory),
    )


class WholeRequests:
    """Sends image and question with every call."""

    def __init__(self, client: OrganSegClient) -> None:
        self._client = client

    def ask(self, question: Question) -> None:
        """Sends one image and question and reads the whole answer."""
        self._client.segment(question.image, question.text)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


class Sessions:
    """Sends an image once and then questions alone, as long as the image stays the same."""

    def __init__(self, client: OrganSegClient) -> None:
        # Not named before the call: an older client library has no such verb.
        open_scan: Any = getattr(client, "open", None)
        if open_scan is None:
            raise NotServedError(
                "wanted a client that opens sessions, the one installed has no `open`: "
                "update organseg, or leave the mix `sessions` out"
            )
        self._client = client
        self._open = open_scan
        self._image: bytes | None = None
        self._scan: Any = None

    def ask(self, question: Question) -> None:
        """Asks about the open image, or opens the question's first."""
        if self._image is not question.image:
            self._leave()
            self._scan = self._open(question.image).__enter__()
            self._image = question.image
        self._scan.ask(question.text)

    def close(self) -> None:
        """Ends the session and the connection."""
        self._leave()
        self._client.close()

    def _leave(self) -> None:
        scan, self._scan, self._image = self._scan, None, None
        if scan is not None:
            scan.__exit__(None, None, None)


def _tls(spec: TargetSpec) -> Tls | None:
    files = (spec.tls_root, spec.tls_key, spec.tls_certificate)
    if not spec.tls and files == (None, None, None):
        return None
    root, key, certificate = (None if file is None else Path(file) for file in files)
    return Tls(root_certificates=root, private_key=key, certificate_chain=certificate)


def _api_key(spec: TargetSpec) -> ApiKey | None:
    if spec.api_key_file is None:
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        return ApiKey(key, spec.api_key_header) if key else None
    try:
        key = Path(spec.api_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"wanted the server's key in a file, it cannot be read ({type(error).__name__}): "
            "look at --api-key-file"
        ) from None
    return ApiKey(key, spec.api_key_header)
