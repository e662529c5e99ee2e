"""`python -m benchmarks.peers.serve`: one peer, as its environment orders; started by `process`."""

from __future__ import annotations

import sys

from benchmarks.peers.settings import Peer, PeerOrder


def main() -> int:
    """Serves until a signal ends it."""
    order = PeerOrder.from_environment()
    if order.peer is Peer.IN_PROCESS:
        from benchmarks.peers import in_process

        in_process.serve(order)
    elif order.peer is Peer.LITSERVE_TORCH:
        from benchmarks.peers import litserve_server

        litserve_server.serve(order)
    else:
        from benchmarks.peers import fastapi_server

        fastapi_server.serve(order)
    return 0


if __name__ == "__main__":
    sys.exit(main())
