"""Tells a person at the terminal which step of an export runs, and what it cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Prints a line per step: its name, then seconds and the process's peak memory."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Quiet: print nothing."""
        self._quiet = quiet

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times the block."""
        started = time.perf_counter()
        self._print(f"  {name:<34}", end="")
        try:
            yield
        except BaseException:
            self._print("failed")
            raise
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._print(f"{time.perf_counter() - started:7.1f} s   peak {peak_mib:6.0f} MiB")

    def _print(self, text: str, end: str = "\n") -> None:
        if not self._quiet:
            print(text, end=end, file=sys.stderr, flush=True)
