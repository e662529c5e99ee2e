"""How much a server keeps between requests: the release's numbers, or the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from organseg.contract import SessionLimits
from organseg.contract.keeping import bound_in
from organseg.errors import ServerStartError

KEPT_VARIABLE = "ORGANSEG_KEPT_MIB_"
"""Behind it the stage in capitals (`ORGANSEG_KEPT_MIB_LLAVA_MED`): overrides the most that it keeps
of images, MiB; 0 for nothing."""

LIFETIME_VARIABLE = "ORGANSEG_SESSION_LIFETIME_S"
"""Overrides how long after its last question a session is known, seconds."""

HANDLES_VARIABLE = "ORGANSEG_SESSION_HANDLES"
"""Overrides how many sessions are known at once; 0 for none."""


def kept_bytes(stage: str, released: int, environment: Mapping[str, str] | None = None) -> int:
    """The most that a stage keeps of images, bytes; raises as `session_limits` does.

    A release that keeps nothing is not made to: its ensembles are others.
    """
    if not released:
        return 0
    mebibytes = _number(environment, KEPT_VARIABLE + stage.upper(), released / 2**20)
    return int(mebibytes * 2**20)


def session_limits(
    released: SessionLimits, environment: Mapping[str, str] | None = None
) -> SessionLimits:
    """The limits to hold to; `environment` is the process's own unless given.

    Raises `ServerStartError` for what is no number of 0 or more.
    """
    lifetime = _number(environment, LIFETIME_VARIABLE, released.lifetime_s)
    return SessionLimits(lifetime, int(_number(environment, HANDLES_VARIABLE, released.handles)))


def _number(environment: Mapping[str, str] | None, variable: str, otherwise: float) -> float:
    value = (os.environ if environment is None else environment).get(variable)
    if not value:
        return otherwise
    number = bound_in(value)
    if number is None:
        raise ServerStartError(
            f"wanted {variable} as a number of 0 or more, got {value[:40]!r}: change or unset it"
        )
    return number
