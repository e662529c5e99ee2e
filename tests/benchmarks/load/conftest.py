"""Peers for tests of the load generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from http_peer import ANSWER, Peer


@pytest.fixture
def make_peer() -> Iterator[Callable[..., Peer]]:
    """Makes peers that are gone after the test."""
    peers: list[Peer] = []

    def make(statuses: Sequence[int] = (200,), answer: bytes = ANSWER) -> Peer:
        peer = Peer(statuses, answer)
        peers.append(peer)
        threading.Thread(target=peer.serve_forever, daemon=True).start()
        return peer

    yield make
    for peer in peers:
        peer.shutdown()
        peer.server_close()
