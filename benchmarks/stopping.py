"""Being told to stop: SIGTERM ends a measurement as Ctrl-C does, with all that it started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Lets SIGTERM leave the block as `SystemExit`; in the main thread only.

    By itself it ends this process on the spot, and a server that is stopped at that moment, since
    another one is measured, would stay for ever.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
