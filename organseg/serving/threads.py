"""How many threads a stage gets and which cores it keeps to: the deployment's, or the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from organseg.contract.cores import cores_text
from organseg.errors import EngineError

THREADS_VARIABLE = "ORGANSEG_THREADS"
"""Set by `organseg serve --threads`: overrides the table in every Python model."""

_THREADS_OF_THIS_PROCESS = Path("/proc/self/task")


def engine_threads(parameters: Mapping[str, str]) -> int:
    """The threads of a stage, from its config's parameters unless the variable says other."""
    return int(os.environ.get(THREADS_VARIABLE) or parameters["threads"])


def keep_to_cores(cores: Sequence[int]) -> None:
    """Keeps this process to some cores: its threads of now, and by inheritance those to come.

    Engines bind no thread to a core themselves. No cores leaves everything as it is. Raises
    `EngineError` where the machine, or the container, does not give one of them.
    """
    if not cores:
        return
    given = os.sched_getaffinity(0)
    if not set(cores) <= given:
        raise EngineError(
            f"wanted the cores {cores_text(tuple(cores))}, this process may use "
            f"{cores_text(tuple(sorted(given)))}: tune on this machine, or export without "
            "--deployment"
        )
    for thread in _THREADS_OF_THIS_PROCESS.iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:
            # It has ended meanwhile.
            continue


def limit_torch_threads(threads: int) -> None:
    """Gives torch this many threads for one operation, and one for operations side by side."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        # Torch takes this once in a process, before its first parallel work.
        with suppress(RuntimeError):
            torch.set_num_interop_threads(1)
