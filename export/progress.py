"""Tells a person at the terminal which step of an export runs, and what it cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Prints a line per step: its name, then seconds and the process's peak memory.

    A step may hold others; they stand below it, indented, and its own cost in a line after them.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Quiet: print nothing."""
        self._quiet = quiet
        self._depth = 0
        self._waits = False
        """Whether the last line has a name and waits for its cost."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times the block."""
        started = time.perf_counter()
        self._begin_line(name)
        self._waits = True
        self._depth += 1
        try:
            yield
        except BaseException:
            self._end(name, "failed")
            raise
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._end(name, f"{time.perf_counter() - started:7.1f} s   peak {peak_mib:6.0f} MiB")

    def note(self, name: str, what: str) -> None:
        """Prints a line about a step that took no time: kept from before, or what came of one."""
        self._begin_line(name)
        self._print(f"  {what}\n")

    def _begin_line(self, name: str) -> None:
        if self._waits:
            self._print("\n")
            self._waits = False
        indent = "  " * (self._depth + 1)
        self._print(f"{indent}{name:<{40 - len(indent)}}")

    def _end(self, name: str, cost: str) -> None:
        self._depth -= 1
        if not self._waits:
            self._begin_line(f"{name}, in all")
        self._waits = False
        self._print(f"{cost}\n")

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text, end="", file=sys.stderr, flush=True)
