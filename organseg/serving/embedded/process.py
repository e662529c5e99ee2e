"""The embedded server as a context manager: real Triton, started, ready, and gone again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from organseg.errors import OrganSegError, ServerStartError
from organseg.serving.embedded import supervisor
from organseg.serving.embedded.failure import explain_failure, read_tail
from organseg.serving.embedded.installation import (
    Installation,
    find_installation,
    link_backends,
    link_libraries,
)
from organseg.serving.embedded.invocation import server_command, server_environment
from organseg.serving.embedded.machine import (
    StubRunner,
    check_numpy,
    check_platform,
    check_shared_memory,
    check_stub,
)
from organseg.serving.embedded.options import ServerOptions
from organseg.serving.embedded.ports import Endpoints, claim_endpoints
from organseg.serving.embedded.readiness import NotReadyInTimeError, Probe, wait_until_ready
from organseg.serving.embedded.repository import check_model_repository

# What the supervisor may take beyond the server's own patience, to end stubs and clean up.
_SUPERVISOR_GRACE_S = 5.0
_KILL_TIMEOUT_S = 10.0
_ATTEMPTS = 3
_PORT_TAKEN = "already in use"


class EmbeddedServer:
    """The Triton of this Python environment, serving one model repository.

        with EmbeddedServer(release / "models", ServerOptions(grpc_port=0)) as server:
            client = OrganSegClient(server.grpc_address)

    Entering returns once every model is loaded and `probe`, if given, has passed. Leaving
    lets requests in flight finish and leaves no process, also where this process is killed.
    """

    def __init__(
        self,
        model_repository: Path,
        options: ServerOptions | None = None,
        *,
        probe: Probe | None = None,
        installation: Installation | None = None,
        run_stub: StubRunner | None = None,
    ) -> None:
        self._model_repository = model_repository.resolve()
        self._options = options or ServerOptions()
        self._probe = probe
        self._installation = installation
        self._run_stub = run_stub
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoints: Endpoints | None = None
        self._name = ""
        self._folder: Path | None = None
        self._log_file: Path | None = None
        self._log_begin = 0

    @property
    def grpc_address(self) -> str:
        """`host:port` of gRPC, as this machine reaches it."""
        return f"{self._started.local_host}:{self._started.grpc_port}"

    @property
    def http_address(self) -> str:
        """`host:port` of HTTP, as this machine reaches it."""
        return f"{self._started.local_host}:{self._started.http_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds the metrics, as this machine reaches it."""
        return f"http://{self._started.local_host}:{self._started.metrics_port}/metrics"

    @property
    def endpoints(self) -> Endpoints:
        """The address and ports it listens on."""
        return self._started

    @property
    def process_group(self) -> int:
        """The process group and session of the server and all its models."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its processes are there."""
        return self._process is not None and self._process.poll() is None

    @property
    def _started(self) -> Endpoints:
        if self._endpoints is None:
            raise RuntimeError("the server was not started")
        return self._endpoints

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and returns when it is ready.

        Raises `ServerStartError`, with the remedy, where this machine, the options or the
        models do not allow it; nothing is left running then.
        """
        if self._process is not None:
            raise RuntimeError("the server was started already")
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                self._launch()
                self._await_ready()
            except ServerStartError as error:
                self.stop()
                # Another process may take a picked port before Triton opens it.
                if not (self._options.picks_ports and _PORT_TAKEN in str(error) and attempts_left):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """Stops the server once its requests are done; at once where this is interrupted."""
        process = self._process
        try:
            if process is not None:
                self._end(process)
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The server's exit status once it has ended by itself; None at the timeout."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def explain_end(self) -> str:
        """The reasons that the log gives for a failure, on one line."""
        status = None if self._process is None else self._process.poll()
        if self._log_file and self._log_file.exists() and not self._log_file.is_file():
            return "its log, which went by above, says why"
        log_text = read_tail(self._log_file, self._log_begin) if self._log_file else ""
        return explain_failure(log_text, status)

    def _launch(self) -> None:
        check_platform()
        check_numpy()
        check_shared_memory()
        installation = self._installation or find_installation()
        check_model_repository(self._model_repository)
        self._endpoints = claim_endpoints(self._options)

        self._name = f"organseg-{secrets.token_hex(4)}"
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self._name}-"))
        libraries = link_libraries(installation, self._folder)
        environment = server_environment(installation, libraries, self._options)
        check_stub(installation, environment, self._run_stub)
        command = server_command(
            installation,
            self._model_repository,
            link_backends(installation, self._folder),
            self._endpoints,
            self._options,
            self._name,
        )
        order = {
            "parent": os.getpid(),
            "stop_timeout_s": self._options.stop_timeout_s + 1,
            "command": command,
            "folder": str(self._folder),
            "shared_memory_prefix": f"{self._name}-",
        }
        self._log_file = self._options.log_file or self._folder / "server.log"
        with _open_log(self._log_file) as log:
            # A pipe has no place.
            self._log_begin = log.tell() if log.seekable() else 0
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(order)],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        patience = self._options.ready_timeout_s
        try:
            wait_until_ready(
                self._started.local_host,
                self._started.grpc_port,
                self._probe,
                name=self._name,
                deadline=time.monotonic() + patience,
                pause=self._pause,
            )
        except NotReadyInTimeError as missing:
            raise ServerStartError(
                f"wanted the server ready within {patience:g} s, but {missing}: allow more time "
                f"with --ready-timeout, or look at what it waits for ({self.explain_end()})"
            ) from None
        except ServerStartError:
            raise
        except OrganSegError as error:
            raise ServerStartError(
                f"the server started, but its first inference failed ({error}): "
                "export the release again, with this version of organseg"
            ) from error

    def _pause(self, seconds: float) -> None:
        """Waits, at most until the server ends before it was ready, and then raises."""
        if self.wait(seconds) is not None:
            raise ServerStartError(
                f"the server ended before it was ready ({self.explain_end()}): mend what it names, "
                "or export the release again"
            )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.terminate()
            process.wait(self._options.stop_timeout_s + 1 + _SUPERVISOR_GRACE_S)
        except BaseException as error:
            # A second SIGTERM tells the supervisor to kill Triton now.
            process.terminate()
            try:
                process.wait(_KILL_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _open_log(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise ServerStartError(
            f"cannot write the log {path.name!r} ({type(error).__name__}): "
            "choose another file with --log-file"
        ) from None
