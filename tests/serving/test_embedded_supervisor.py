"""The supervisor ends what it started, whoever dies first; ordinary programs stand for Triton."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from organseg.serving.embedded import supervisor

DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.01
# A server with a helper in a session of its own, which no signal to a group would reach.
WITH_HELPER = "setsid sleep 300 & echo helper $!; exec sleep 300"
STUBBORN = "trap '' TERM; echo ready $$; while :; do sleep 300; done"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "private"
    path.mkdir()
    (path / "server.log").touch()
    return path


@pytest.fixture
def region() -> Iterator[Path]:
    path = Path("/dev/shm", f"organseg-test-{os.getpid()}-region")
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def _order(folder: Path, script: str, stop_timeout_s: float = 60.0, parent: int = 0) -> list[str]:
    order = {
        "parent": parent or os.getpid(),
        "stop_timeout_s": stop_timeout_s,
        "command": ["bash", "-c", script],
        "folder": str(folder),
        "shared_memory_prefix": f"organseg-test-{os.getpid()}-",
    }
    return [sys.executable, "-I", "-S", str(supervisor.__file__), json.dumps(order)]


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _order(*arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "not so before the deadline"
        time.sleep(_LOOK_EVERY_S)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _pid_said(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().split()[1])


def test_the_exit_status_of_the_server_is_its_own(folder: Path) -> None:
    assert subprocess.run(_order(folder, "exit 7"), timeout=DEADLINE_S).returncode == 7
    killed = subprocess.run(_order(folder, "kill -SEGV $$"), timeout=DEADLINE_S)
    assert killed.returncode == 128 + signal.SIGSEGV


def test_a_server_that_cannot_be_run_is_said_so(folder: Path) -> None:
    order = json.loads(_order(folder, "")[-1]) | {"command": [str(folder / "nothing")]}
    ended = subprocess.run(
        [*_order(folder, "")[:-1], json.dumps(order)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 127
    assert "cannot run tritonserver: No such file" in ended.stderr


def test_a_helper_in_its_own_session_ends_with_the_server(folder: Path) -> None:
    with _start(folder, WITH_HELPER) as process:
        helper = _pid_said(process)
        process.terminate()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert _is_gone(helper)


def test_a_helper_ends_when_the_server_crashes(folder: Path) -> None:
    with _start(folder, "sleep 300 & echo helper $!; kill -KILL $$") as process:
        helper = _pid_said(process)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGKILL
    assert _is_gone(helper)


def test_shared_memory_goes_and_the_log_stays_for_the_parent(folder: Path, region: Path) -> None:
    subprocess.run(_order(folder, "exit 0"), timeout=DEADLINE_S, check=True)
    assert not region.exists()
    assert (folder / "server.log").exists()


def test_the_servers_patience_is_bounded(folder: Path) -> None:
    with _start(folder, STUBBORN, 0.1) as process:
        _pid_said(process)
        process.terminate()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGKILL


def test_a_second_signal_kills_at_once(folder: Path) -> None:
    with _start(folder, STUBBORN, 3600.0) as process:
        _pid_said(process)
        process.terminate()
        # The same signal sent twice at once may arrive once.
        while process.poll() is None:
            process.terminate()
            time.sleep(_LOOK_EVERY_S)
        assert process.returncode == 128 + signal.SIGKILL


def test_a_killed_parent_takes_all_with_it_and_leaves_no_folder(
    folder: Path, region: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    script = (
        "import json, os, subprocess, sys\n"
        "order = json.loads(sys.argv[-1]) | {'parent': os.getpid()}\n"
        "child = subprocess.Popen(sys.argv[1:-1] + [json.dumps(order)], start_new_session=True)\n"
        "print('supervisor', child.pid, flush=True)\n"
        "child.wait()\n"
    )
    command = _order(folder, f"echo helper $$ > {said}; {WITH_HELPER} > /dev/null")
    with subprocess.Popen(
        [sys.executable, "-c", script, *command], stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = _pid_said(parent)
        _until(lambda: said.exists() and said.read_text().endswith("\n"))
        parent.kill()
    server = int(said.read_text().split()[1])
    _until(lambda: _is_gone(pid) and _is_gone(server))
    assert not folder.exists()
    assert not region.exists()


def test_a_killed_supervisor_takes_the_server_with_it(folder: Path) -> None:
    with _start(folder, "echo server $$; exec sleep 300") as process:
        server = _pid_said(process)
        process.kill()
    _until(lambda: _is_gone(server))
