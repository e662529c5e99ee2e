"""Whether this machine and this Python environment can run the embedded server at all.

Each check costs milliseconds and turns a failure that the server would report in its own
words, or not at all, into one sentence with the remedy.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from organseg.errors import ServerStartError
from organseg.serving.embedded.installation import Installation, libpython_name

# Each model's stub takes a few MiB and grows with the tensors in flight: the largest image is
# 64 MiB, and 13 masks of 4096 x 4096 pixels are 208 MiB, each once in and once out. Docker's
# default of 64 MiB ends in a bus error inside the server, long after the start.
MIN_SHARED_MEMORY_MIB = 768

_LOADER_FAILED = 127

StubRunner = Callable[[Path, Mapping[str, str]], "subprocess.CompletedProcess[str]"]
"""Runs the stub without arguments in an environment; gives its exit status and stderr."""


def check_platform(system: str = sys.platform, machine: str | None = None) -> None:
    """Raises `ServerStartError` unless this is Linux on x86-64."""
    machine = machine or platform.machine()
    if system != "linux" or machine not in ("x86_64", "AMD64"):
        raise ServerStartError(
            f"wanted Linux on x86-64 for the embedded server, got {system} on {machine}: "
            "use such a machine, or run the container image"
        )


def check_numpy(version: str | None = None) -> None:
    """Raises `ServerStartError` for numpy 2, with which Triton 2.51 returns empty outputs."""
    version = version or metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise ServerStartError(
            f"wanted numpy below 2, got {version}, with which this Triton's Python models return "
            'empty outputs without an error: run `pip install "numpy<2"` in this environment'
        )


def check_shared_memory(folder: Path = Path("/dev/shm")) -> None:
    """Raises `ServerStartError` where there is too little shared memory for tensors."""
    try:
        status = os.statvfs(folder)
    except OSError:
        raise ServerStartError(
            "wanted shared memory in /dev/shm, but there is none: mount a tmpfs there"
        ) from None
    free_mib = status.f_bavail * status.f_frsize // 2**20
    if free_mib < MIN_SHARED_MEMORY_MIB:
        raise ServerStartError(
            f"wanted {MIN_SHARED_MEMORY_MIB} MiB free in /dev/shm or more, got {free_mib} MiB: "
            "enlarge it (in a container: `docker run --shm-size=2g`), or free what fills it"
        )


def check_stub(
    installation: Installation, environment: Mapping[str, str], run: StubRunner | None = None
) -> None:
    """Raises `ServerStartError` where the system cannot load the stub, as without libpython.

    The stub itself is started in the environment that the server will give it; with no
    arguments it complains and ends, but only once all its libraries were loaded.
    """
    ended = (run or _run_stub)(installation.stub, environment)
    if ended.returncode != _LOADER_FAILED:
        return
    name = libpython_name()
    if name in ended.stderr:
        package = name.partition(".so")[0]
        raise ServerStartError(
            f"wanted the shared library {name}, which Triton runs Python models with, but this "
            f"system has none: install it (on Debian and Ubuntu: `apt install {package}`), or "
            "use a Python that was built with --enable-shared"
        )
    reason = ended.stderr.strip().splitlines()[-1:] or ["no reason given"]
    raise ServerStartError(
        f"this system cannot load Triton's Python stub ({reason[0].rpartition('/')[2]}): use a "
        "distribution with glibc 2.35 or later, such as Debian 12 or Ubuntu 22.04"
    )


def _run_stub(stub: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(stub)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerStartError(
            f"cannot run Triton's Python stub ({type(error).__name__}): "
            'install the server again with `pip install --force-reinstall "organseg[serve]"`'
        ) from None
