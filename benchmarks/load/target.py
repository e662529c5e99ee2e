"""Who is asked: one client per user, built from a description that travels to the load process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

from benchmarks.workload import Question
from organseg.errors import InvalidInputError


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
    """`HOST:PORT`."""
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
    api_key_header: str = "authorization"
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
    """The client that a description stands for; nothing is asked yet.

    Raises `InvalidInputError` for one that cannot be built, such as a session target where the
    client library knows no sessions.
    """
    raise InvalidInputError(f"wanted a target that can be built, got {spec.kind.value}")
