"""How many threads a stage's engine gets: the deployment table's number, or the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping

THREADS_VARIABLE = "ORGANSEG_THREADS"
"""Set by `organseg serve --threads`: overrides the table in every Python model."""


def engine_threads(parameters: Mapping[str, str]) -> int:
    """The threads of a stage, from its config's parameters unless the variable says other."""
    return int(os.environ.get(THREADS_VARIABLE) or parameters["threads"])
