"""`organseg-client` as a process of its own, as a shell starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

COMMAND = (sys.executable, "-m", "organseg_client")

_OWN = ("ORGANSEG_URL", "ORGANSEG_API_KEY", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")


def environment_of(**variables: str) -> Mapping[str, str]:
    """This process's environment without the command's own variables, but with those given."""
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    return {**kept, **variables}


def heed_ctrl_c() -> None:
    """For a new process: a shell that runs the tests in the background has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_client(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with pipes for its output; `variables` go into its environment."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment_of(**variables),
    )
