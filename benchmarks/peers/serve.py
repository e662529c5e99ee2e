"""`python -m benchmarks.peers.serve`: one peer, as its environment orders; started by `process`."""

from __future__ import annotations

import os
import signal
import sys
import threading

from benchmarks.peers.settings import Peer, PeerOrder


def main() -> int:
    """Serves until a signal ends it."""
    order = PeerOrder.from_environment()
    if order.peer is Peer.IN_PROCESS:
        from benchmarks.peers import in_process

        in_process.serve(order)
    elif order.peer is Peer.LITSERVE_TORCH:
        from benchmarks.peers import litserve_server

        end_with_parent()
        litserve_server.serve(order)
    else:
        from benchmarks.peers import fastapi_server

        end_with_parent()
        fastapi_server.serve(order)
    return 0


def end_with_parent() -> None:
    """Ends this server once whoever started it is gone, and with that the pipe to it."""

    def wait() -> None:
        os.read(0, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
