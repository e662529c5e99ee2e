"""How long and how many sessions a server knows: the release's numbers, or the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from organseg.contract import SessionLimits
from organseg.errors import ServerStartError

LIFETIME_VARIABLE = "ORGANSEG_SESSION_LIFETIME_S"
"""Overrides, for a whole server, how long after its last question a session is known, seconds."""

HANDLES_VARIABLE = "ORGANSEG_SESSION_HANDLES"
"""Overrides, for a whole server, how many sessions are known at once; 0 for none."""


def session_limits(
    released: SessionLimits, environment: Mapping[str, str] | None = None
) -> SessionLimits:
    """The limits to hold to; `environment` is the process's own unless given.

    Raises `ServerStartError` for what is no number of 0 or more.
    """
    said = os.environ if environment is None else environment
    lifetime = _number(said, LIFETIME_VARIABLE, released.lifetime_s)
    return SessionLimits(lifetime, int(_number(said, HANDLES_VARIABLE, released.handles)))


def _number(said: Mapping[str, str], variable: str, otherwise: float) -> float:
    value = said.get(variable)
    if not value:
        return otherwise
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise ServerStartError(
            f"wanted {variable} as a number of 0 or more, got {value[:40]!r}: change or unset it"
        )
    return number
