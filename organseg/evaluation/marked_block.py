"""A part of a file that a command renders, between two marks; the rest is written by hand."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MarkedBlock:
    """One rendered part of a file."""

    file: Path
    """Where it stands."""
    begin: str
    """The mark before it."""
    end: str
    """The mark behind it."""
    remedy: str
    """What to run where it is out of date."""

    def write(self, content: str) -> int:
        """Puts the content between the marks; gives 0, or 1 where the marks are missing."""
        return self._put(content, is_check=False)

    def check(self, content: str) -> int:
        """Changes nothing; gives 1 where something else stands there, or the marks are missing.

        What is wrong is said on stderr.
        """
        return self._put(content, is_check=True)

    def _put(self, content: str, *, is_check: bool) -> int:
        text = self.file.read_text(encoding="utf-8")
        before, found, rest = text.partition(self.begin)
        old, closed, after = rest.partition(self.end)
        name = self.file.name
        if not found or not closed:
            print(
                f"wanted the marks {self.begin} and {self.end} in {name}: put them in",
                file=sys.stderr,
            )
            return 1
        new = f"\n{content}\n"
        if not is_check:
            self.file.write_text(before + self.begin + new + self.end + after, encoding="utf-8")
        elif old != new:
            print(f"{name}'s tables are out of date: run {self.remedy}", file=sys.stderr)
            return 1
        return 0
