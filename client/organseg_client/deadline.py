"""A deadline: how long a call may take in all, over every step that it makes."""

from __future__ import annotations

import math
import time

from organseg.errors import DeadlineExceededError, InvalidInputError

__all__ = ["DEFAULT_DEADLINE_S", "EXPLANATION_DEADLINE_S", "Deadline"]

DEFAULT_DEADLINE_S = 30.0
"""Seconds that a call may take where the caller says nothing: the server's own queue timeout."""


EXPLANATION_DEADLINE_S = 300.0
"""Seconds that page and command give an explanation, which people read while it is written; the
first one may have to wait until the server has read the model."""


class Deadline:
    """A number of seconds that runs from its making.

    Raises `InvalidInputError` unless `seconds` is finite and above zero.
    """

    def __init__(self, seconds: float) -> None:
        try:
            self.seconds = float(seconds)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"wanted a deadline in seconds, got {type(seconds).__name__}; give for example 30.0"
            ) from error
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise InvalidInputError(
                f"wanted a deadline of some seconds, finite and above 0, got {self.seconds:g}; "
                "give for example 30.0"
            )
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the deadline began to run."""
        return time.monotonic() - self._start

    def remaining_s(self) -> float:
        """Seconds that are left, above zero; raises `DeadlineExceededError` where none are."""
        remaining = self.seconds - self.elapsed_s
        if remaining <= 0:
            raise DeadlineExceededError(
                f"wanted an answer within {self.seconds:g} s, the time was up before the request "
                "was sent; give a longer deadline"
            )
        return remaining
