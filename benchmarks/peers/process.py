"""A peer's processes: started, awaited, stopped for the time that others are measured, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.peers.readiness import count_ready
from benchmarks.peers.reply import HEALTH_PATH
from benchmarks.peers.settings import SERVERS, PeerOrder
from benchmarks.workload import REPO_ROOT
from organseg.errors import ServerFaultError, ServerStartError
from organseg.serving.embedded.options import ServerOptions
from organseg.serving.embedded.ports import claim_endpoints

READY_TIMEOUT_S = 300.0
_POLL_S = 0.1
_END_TIMEOUT_S = 10.0
_HEALTH_TIMEOUT_S = 5.0


class PeerProcess:
    """One peer in a session of its own; entering returns once it has loaded.

        with PeerProcess(order) as peer:
            ask(peer.address)

    Leaving ends all its processes.
    """

    def __init__(self, order: PeerOrder, ready_timeout_s: float = READY_TIMEOUT_S) -> None:
        if not order.port:
            free = claim_endpoints(ServerOptions(grpc_port=0, http_port=0, metrics_port=0))
            order = replace(order, port=free.http_port)
        self.order = order
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT` of a server."""
        return f"127.0.0.1:{self.order.port}"

    @property
    def session(self) -> int:
        """The session and process group of all its processes."""
        return self._started.pid

    def exchange(self, message: Mapping[str, Any]) -> Any:
        """Sends a message to a peer that is no server and gives its answer, both plain values.

        Raises `ServerFaultError` where it ended instead.
        """
        process = self._started
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise ServerFaultError(
                f"wanted an answer of {self.order.peer.value}, its process ended: "
                f"{self._last_line()}"
            )
        return json.loads(line)

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the peer was not started")
        return self._process

    def __enter__(self) -> PeerProcess:
        self._start()
        try:
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _start(self) -> None:
        # LitServe may write files where it runs; a folder of its own keeps the checkout clean.
        self._folder = tempfile.TemporaryDirectory(prefix="organseg-peer-")
        self._log_path = Path(self._folder.name) / "log"
        environment = {**os.environ, **self.order.to_environment()}
        inherited = environment.get("PYTHONPATH")
        paths = [str(REPO_ROOT), str(REPO_ROOT / "client"), *([inherited] if inherited else [])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        self._log = self._log_path.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.serve"],
            env=environment,
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            # Of a server nobody reads it: full, a pipe would stop whoever prints.
            stdout=self._log if self.order.peer in SERVERS else subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        while not self._is_ready():
            if self._started.poll() is not None or time.monotonic() > deadline:
                raise ServerStartError(
                    f"wanted the peer {self.order.peer.value} ready within "
                    f"{self._ready_timeout_s:g} s, got none: {self._last_line()}"
                )
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        # One worker that answers is not enough: another that still loads takes the cores.
        if count_ready(Path(self._folder.name)) < self.order.settings.workers:
            return False
        if self.order.peer not in SERVERS:
            return True
        try:
            url = f"http://{self.address}{HEALTH_PATH}"
            with urllib.request.urlopen(url, timeout=_HEALTH_TIMEOUT_S) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _last_line(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "its log is empty")

    def _end(self) -> None:
        process = self._started
        try:
            resume(process.pid)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)
            # Workers of a server that did not end them; the group is gone where there are none.
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            for stream in (process.stdin, process.stdout, self._log):
                if stream is not None:
                    stream.close()
            self._folder.cleanup()


def signal_group(group: int, what: signal.Signals) -> None:
    """Sends a signal to all processes of a group; does nothing where there are none left."""
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        return


def pause(group: int) -> None:
    """Stops all processes of a group: what they would do while idle costs nobody anything."""
    signal_group(group, signal.SIGSTOP)


def resume(group: int) -> None:
    """Lets them go on."""
    signal_group(group, signal.SIGCONT)


@contextmanager
def running(group: int) -> Iterator[None]:
    """Lets a stopped group run for the time of a block."""
    resume(group)
    try:
        yield
    finally:
        pause(group)
