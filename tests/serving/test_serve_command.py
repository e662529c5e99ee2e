"""`organseg serve`, run as a user runs it, on a toy release whose one model answers everything."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from organseg.__main__ import main
from organseg.contract import CONTRACT_VERSION, ENSEMBLE_NAME, TINY, ensemble_tensors
from organseg.errors import ServerStartError
from organseg.serving.embedded.probe import EnsembleProbe
from organseg.serving.manifest import write_manifest

REPO_ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.01
FREE_PORTS = ("--grpc-port=0", "--http-port=0", "--metrics-port=0")

MODEL = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.outputs = json.loads(args["model_config"])["output"]

    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.fill(o) for o in self.outputs]) for _ in requests]

    def fill(self, output):
        kind = pb_utils.triton_string_to_numpy(output["data_type"])
        shape = [1, *(2 if int(size) < 0 else int(size) for size in output["dims"])]
        value = b"segmented" if kind == np.object_ else 1
        return pb_utils.Tensor(output["name"], np.full(shape, value, dtype=kind))
"""
# Says that it loads, then never ends loading.
SLOW_MODEL = """
import threading

class TritonPythonModel:
    def initialize(self, args):
        print("loading slowly", flush=True)
        threading.Event().wait()
"""


def _config(name: str, head: str, tail: str = "") -> str:
    inputs, outputs = ensemble_tensors(TINY)
    lines = [f'name: "{name}"', head, "max_batch_size: 4"]
    for label, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            dims = [axis.config_dim for axis in tensor.axes]
            optional = " optional: true" if tensor.optional else ""
            lines.append(
                f'{label} {{name: "{tensor.name}" data_type: {tensor.dtype.config_name} '
                f"dims: {dims}{optional}}}"
            )
    return "\n".join([*lines, tail, ""])


def _wiring() -> str:
    inputs, outputs = ensemble_tensors(TINY)
    maps = [
        f'{label} {{key: "{tensor.name}" value: "{tensor.name}"}}'
        for label, tensors in (("input_map", inputs), ("output_map", outputs))
        for tensor in tensors
    ]
    step = f'model_name: "answer" model_version: -1 {" ".join(maps)}'
    return f"ensemble_scheduling {{ step {{ {step} }} }}"


def _write_release(folder: Path, code: str = MODEL, **changes: str) -> Path:
    models = folder / "models"
    for name, config in (
        ("answer", _config("answer", 'backend: "python"')),
        (ENSEMBLE_NAME, _config(ENSEMBLE_NAME, 'platform: "ensemble"', _wiring())),
    ):
        (models / name / "1").mkdir(parents=True)
        (models / name / "config.pbtxt").write_text(config)
    (models / "answer" / "1" / "model.py").write_text(code)
    (models / ENSEMBLE_NAME / "1" / "keep").touch()
    facts = {"preset": "tiny", "platform": "python", "contract_version": CONTRACT_VERSION}
    write_manifest(folder, **(facts | changes), trained=False, tools={"toy": "1"})
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return _write_release(tmp_path / "release")


@contextmanager
def _serving(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "organseg", "serve", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
        # A terminal's Ctrl-C reaches a whole process group; this one is the command's own.
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if word in line:
            return read
    assert process.stderr is not None
    raise AssertionError(f"{word!r} was not printed: {read}{process.stderr.read()}")


def _children(pid: int) -> list[int]:
    # A child belongs to the thread that started it.
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    found = [int(child) for text in lists for child in text.split()]
    return found + [below for child in found for below in _children(child)]


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs the command in this process; gives its one line on stderr."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["serve", *map(str, arguments)]) == 1
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("organseg: ")
    return line


@pytest.mark.server
def test_a_release_is_served_until_ctrl_c(release: Path) -> None:
    with _serving(release, *FREE_PORTS) as process:
        said = _read_until(process, "Ctrl-C")
        address = re.search(r"gRPC +(\S+)", said)
        assert address is not None
        assert f"--url {address[1]}" in said
        assert re.search(r"HTTP +http://127", said)
        assert re.search(r"metrics +http://127\S+/metrics", said)
        assert "UNTRAINED" in said
        EnsembleProbe()(address[1])
        below = _children(process.pid)
        assert len(below) >= 3
        os.killpg(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, rest, errors) == (0, "Stopped.\n", "")
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    # What the server's Python wrote beside the models is no damage.
    from organseg.serving.manifest import verify_release

    verify_release(release)


@pytest.mark.server
def test_a_sigterm_while_a_model_loads_ends_it(tmp_path: Path) -> None:
    release = _write_release(tmp_path / "slow", SLOW_MODEL)
    log = tmp_path / "server.log"
    with _serving(release, *FREE_PORTS, "--stop-timeout=1", "--log-file", log) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not log.exists() or "loading slowly" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(_LOOK_EVERY_S)
        below = _children(process.pid)
        assert len(below) >= 3
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "")
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def _kill_triton(process: subprocess.Popen[str]) -> None:
    (triton,) = (
        pid
        for pid in _children(process.pid)
        if Path(f"/proc/{pid}/comm").read_text().startswith("tritonserver")
    )
    os.kill(triton, signal.SIGKILL)


@pytest.mark.server
def test_a_server_that_dies_is_started_again_where_it_was(release: Path) -> None:
    with _serving(release, *FREE_PORTS, "--restarts=1") as process:
        addresses = re.findall(r"127[.\d]+:\d+", _read_until(process, "Ctrl-C"))
        _kill_triton(process)
        said = _read_until(process, "Ctrl-C")
        assert said.startswith("The server ended by itself (it was killed, ")
        assert "Starting it again" in said
        assert re.findall(r"127[.\d]+:\d+", said) == addresses
        EnsembleProbe()(addresses[0])
        # Once was allowed.
        _kill_triton(process)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert errors.startswith("organseg: the server ended by itself (it was killed, ")
    assert errors.count("\n") == 1


@pytest.mark.server
def test_a_model_that_answers_nothing_is_not_called_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = _write_release(tmp_path / "empty", MODEL.replace("2 if int(size) < 0", "0 if 1"))
    said = _fails(capsys, release, *FREE_PORTS, "--stop-timeout=1")
    assert "its first inference failed" in said


@pytest.mark.server
def test_a_loading_that_takes_too_long_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = _write_release(tmp_path / "slow", SLOW_MODEL)
    said = _fails(capsys, release, *FREE_PORTS, "--ready-timeout=0.5", "--stop-timeout=1")
    assert "within 0.5 s" in said
    assert "--ready-timeout" in said


def test_a_busy_port_is_named_with_its_option(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        said = _fails(capsys, release, f"--grpc-port={port}", *FREE_PORTS[1:])
    assert re.search(rf"port {port} .* in use .* --grpc-port", said)


def test_a_tampered_release_is_refused(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "models" / "answer" / "1" / "model.py").write_text("import this")
    assert "changed: models/answer/1/model.py" in _fails(capsys, release)


def test_an_empty_release_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the folder is empty: export it again" in _fails(capsys, tmp_path)


def test_a_release_for_another_platform_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = _write_release(tmp_path / "gpu", platform="tensorrt")
    assert "got tensorrt: serve it with the container image" in _fails(capsys, release)


def test_a_release_of_another_contract_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = _write_release(tmp_path / "old", contract_version="000000000000")
    assert "got 000000000000: export it again" in _fails(capsys, release)


def test_an_impossible_option_is_refused(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "change --grpc-port" in _fails(capsys, release, "--grpc-port=99999")
    assert "change --restarts" in _fails(capsys, release, "--restarts=-1")


def test_any_room_can_add_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def add_command(commands) -> None:
        parser = commands.add_parser("fail")
        parser.set_defaults(run=fail)

    def fail(_: object) -> int:
        raise ServerStartError("wanted luck, got none: try again")

    assert main(["fail"], commands=[add_command]) == 1
    assert capsys.readouterr().err == "organseg: wanted luck, got none: try again\n"


def test_without_a_command_the_usage_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
