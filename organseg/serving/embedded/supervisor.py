"""The process between this one and Triton: it leaves nothing behind, however either of them ends.

Started as a script with the standard library alone, in a session of its own, so that a Ctrl-C
in the terminal reaches only the process that asked for the server. It starts Triton, stops it
on SIGTERM (a second SIGTERM kills it at once) or when its own parent has died, and then ends
whatever Triton left: orphaned stubs come to it, since it is their subreaper. Last it removes
the server's shared memory, and its private folder where no parent is left to read the log in it.

Exit status: Triton's own, or 128 plus the number of the signal that ended it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_LOOK_FOR_PARENT_EVERY_S = 0.2


class Supervisor:
    """One Triton process and the duty to end it."""

    def __init__(self, parent: int, stop_timeout_s: float) -> None:
        self._parent = parent
        self._stop_timeout_s = stop_timeout_s
        self._stops_asked = 0
        self._wake_reader, wake_writer = os.pipe()
        for end in (self._wake_reader, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        # A handler, even an empty one, makes the end of a child wake the loop.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops_asked += 1

    def run(self, command: list[str]) -> int:
        """Runs the command to its end, or to the end asked for; gives its exit status."""
        server = subprocess.Popen(command, preexec_fn=_die_with_parent)
        deadline: float | None = None
        while server.poll() is None:
            if deadline is None and (self._stops_asked or os.getppid() != self._parent):
                server.terminate()
                deadline = time.monotonic() + self._stop_timeout_s
            elif deadline is not None and (self._stops_asked > 1 or time.monotonic() > deadline):
                server.kill()
            self._sleep()
        return server.returncode if server.returncode >= 0 else 128 - server.returncode

    def _sleep(self) -> None:
        """Waits for a signal, at most until the parent must be looked at again."""
        readable, _, _ = select.select([self._wake_reader], [], [], _LOOK_FOR_PARENT_EVERY_S)
        if readable:
            os.read(self._wake_reader, 512)


def _die_with_parent() -> None:
    """In Triton's process before it starts: should the supervisor be killed, so is Triton."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_descendants() -> None:
    """Kills and collects every process below this one; those they orphan come here too."""
    while True:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue
            # The command's name stands in brackets and may itself hold blanks and brackets.
            if int(status.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def _remove_traces(order: dict[str, Any]) -> None:
    if os.getppid() != order["parent"]:
        shutil.rmtree(order["folder"], ignore_errors=True)
    for region in Path("/dev/shm").glob(f"{order['shared_memory_prefix']}*"):
        region.unlink(missing_ok=True)


def main(order: dict[str, Any]) -> int:
    """Carries out one order of `EmbeddedServer`; gives the exit status."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        return Supervisor(order["parent"], order["stop_timeout_s"]).run(order["command"])
    except OSError as error:
        print(f"error: cannot run tritonserver: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    finally:
        end_descendants()
        _remove_traces(order)


_LIBC = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    # Not `sys.exit`: on its way out Python gives signals their default meaning back, and a late
    # SIGTERM would then hide the server's own status.
    os._exit(main(json.loads(sys.argv[1])))
