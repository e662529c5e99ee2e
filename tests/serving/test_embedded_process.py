"""The real Triton with toy models: started, asked, stopped, killed, and refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from organseg.errors import ServerStartError
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg.serving.embedded import process as process_module
from organseg.serving.embedded.ports import Endpoints, claim_endpoints

pytest.importorskip("pytriton", reason="needs the extra `serve`")
pytestmark = pytest.mark.server

REPO_ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.01
OPTIONS = ServerOptions(grpc_port=0, http_port=0, metrics_port=0, threads=1, stop_timeout_s=5)

MODEL = """
import os
import sys
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        facts = [sys.prefix, os.environ["OMP_NUM_THREADS"], os.environ["HF_HUB_OFFLINE"]]
        return [
            pb_utils.InferenceResponse([
                pb_utils.Tensor(
                    "Y", 2 * pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
                ),
                pb_utils.Tensor("FACTS", np.array([f.encode() for f in facts], dtype=object)),
            ])
            for request in requests
        ]
"""
BROKEN = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("the context cache is from another encoder")
"""
TENSORS = """
max_batch_size: 0
input [{name: "X" data_type: TYPE_FP32 dims: [-1]}]
output [
  {name: "Y" data_type: TYPE_FP32 dims: [-1]},
  {name: "FACTS" data_type: TYPE_STRING dims: [3]}
]
"""
ENSEMBLE = (
    'platform: "ensemble"'
    + TENSORS
    + """
ensemble_scheduling { step [
  {model_name: "double" model_version: -1
   input_map {key: "X" value: "X"} output_map {key: "Y" value: "between"}},
  {model_name: "double" model_version: -1 input_map {key: "X" value: "between"}
   output_map {key: "Y" value: "Y"} output_map {key: "FACTS" value: "FACTS"}}
]}
"""
)


def _write_model(repository: Path, name: str, config: str, code: str | None = None) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')
    if code is not None:
        (repository / name / "1" / "model.py").write_text(code)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    _write_model(folder, "double", f'backend: "python"{TENSORS}', MODEL)
    _write_model(folder, "twice_double", ENSEMBLE)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[EmbeddedServer]:
    # On all networks, so that the closed admin calls are seen too.
    options = ServerOptions(
        host="0.0.0.0", grpc_port=0, http_port=0, metrics_port=0, threads=1, admin_key="sesame"
    )
    with EmbeddedServer(repository, options, probe=_ask) as running:
        yield running


def _ask(address: str) -> None:
    assert _infer(address).as_numpy("Y").tolist() == [0.0, 4.0, 8.0]


def _client(address: str) -> Any:
    from tritonclient import grpc

    return grpc.InferenceServerClient(address)


def _infer(address: str) -> Any:
    from tritonclient import grpc

    tensor = grpc.InferInput("X", [3], "FP32")
    tensor.set_data_from_numpy(np.arange(3, dtype=np.float32))
    client = _client(address)
    try:
        return client.infer("twice_double", [tensor], client_timeout=DEADLINE_S)
    finally:
        client.close()


def _in_session(session: int) -> dict[int, str]:
    """The living processes of a session: their names by id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = entry.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, its_session = tail.split()[:4]
        if int(its_session) == session and state != "Z":
            found[int(entry.parent.name)] = head.partition("(")[2]
    return found


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "not so before the deadline"
        time.sleep(_LOOK_EVERY_S)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's servers keep their private folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _private_folder(temporary: Path) -> Path:
    (folder,) = temporary.glob("organseg-*")
    return folder


def _shared_memory(folder: Path) -> list[Path]:
    """The shared memory of the server that this private folder belongs to."""
    name = folder.name.rpartition("-")[0]
    return list(Path("/dev/shm").glob(f"{name}-*"))


def test_an_ensemble_of_python_models_answers(server: EmbeddedServer) -> None:
    _ask(server.grpc_address)


def test_models_run_in_this_environment_with_the_threads_asked_for(server: EmbeddedServer) -> None:
    facts = [fact.decode() for fact in _infer(server.grpc_address).as_numpy("FACTS")]
    assert facts == [sys.prefix, "1", "1"]


def test_http_and_metrics_listen_where_they_say(server: EmbeddedServer) -> None:
    assert _get(f"http://{server.http_address}/v2/health/ready")[0] == 200
    assert b'nv_inference_request_success{model="twice_double"' in _get(server.metrics_url)[1]


def _get(url: str) -> tuple[int, bytes]:
    """Status and body; gRPC answers first, the other ports may open a moment later."""
    from urllib.error import URLError
    from urllib.request import urlopen

    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urlopen(url, timeout=DEADLINE_S) as answer:
                return answer.status, answer.read()
        except URLError:
            if time.monotonic() > until:
                raise


def test_beyond_loopback_model_control_over_grpc_needs_the_key(server: EmbeddedServer) -> None:
    from tritonclient.utils import InferenceServerException

    client = _client(server.grpc_address)
    try:
        with pytest.raises(InferenceServerException, match="protocol is restricted"):
            client.get_model_repository_index()
        header = {"triton-grpc-protocol-organseg-admin-key": "sesame"}
        assert len(client.get_model_repository_index(headers=header).models) == 2
        assert client.is_server_ready()
    finally:
        client.close()


def test_beyond_loopback_model_control_over_http_needs_the_key(server: EmbeddedServer) -> None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url = f"http://{server.http_address}/v2/repository/index"
    with pytest.raises(HTTPError, match="Forbidden") as caught:
        urlopen(Request(url, data=b""), timeout=DEADLINE_S)
    caught.value.close()
    request = Request(url, data=b"", headers={"organseg-admin-key": "sesame"})
    with urlopen(request, timeout=DEADLINE_S) as answer:
        assert b"twice_double" in answer.read()


def test_stopping_leaves_no_process_and_no_file(repository: Path, temporary: Path) -> None:
    server = EmbeddedServer(repository, OPTIONS)
    with server:
        session, folder = server.process_group, _private_folder(temporary)
        assert {"tritonserver", "triton_python_b"} <= set(_in_session(session).values())
        assert _shared_memory(folder)
        assert server.is_running
    assert not server.is_running
    assert not _in_session(session)
    assert not folder.exists()
    assert not _shared_memory(folder)


def test_a_killed_parent_leaves_no_process_and_no_file(repository: Path, temporary: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from organseg.serving.embedded import EmbeddedServer, ServerOptions\n"
        "options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)\n"
        "with EmbeddedServer(Path(sys.argv[1]), options) as server:\n"
        "    print(server.process_group, flush=True)\n"
        "    server.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO_ROOT), "TMPDIR": str(temporary)},
    ) as parent:
        assert parent.stdout is not None
        session = int(parent.stdout.readline())
        folder = _private_folder(temporary)
        assert "triton_python_b" in _in_session(session).values()
        assert _shared_memory(folder)
        parent.kill()
    _until(lambda: not _in_session(session))
    assert not folder.exists()
    assert not _shared_memory(folder)


def test_a_killed_server_is_noticed_and_its_models_end(repository: Path) -> None:
    with EmbeddedServer(repository, OPTIONS) as server:
        session = server.process_group
        (triton,) = (
            pid for pid, name in _in_session(session).items() if name.startswith("tritonserver")
        )
        os.kill(triton, signal.SIGKILL)
        assert server.wait(DEADLINE_S) == 128 + signal.SIGKILL
        assert not _in_session(session)


def test_a_model_that_fails_to_load_speaks_for_itself(tmp_path: Path) -> None:
    _write_model(tmp_path, "extractors", f'backend: "python"{TENSORS}', BROKEN)
    with pytest.raises(
        ServerStartError,
        match=r"model 'extractors': ValueError: the context cache is from another encoder",
    ):
        EmbeddedServer(tmp_path, OPTIONS).start()


def test_a_missing_libpython_stops_before_anything_runs(repository: Path, temporary: Path) -> None:
    def loader(stub: Path, _: object) -> subprocess.CompletedProcess[str]:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        message = f"{stub}: error while loading shared libraries: libpython{version}.so.1.0"
        return subprocess.CompletedProcess([], 127, "", message)

    server = EmbeddedServer(repository, OPTIONS, run_stub=loader)
    with pytest.raises(ServerStartError, match="apt install libpython"):
        server.start()
    assert not server.is_running
    assert not list(temporary.glob("organseg-*"))


def test_a_picked_port_that_another_took_is_picked_anew(
    repository: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [server.endpoints]

    def claim(options: ServerOptions) -> Endpoints:
        return first.pop() if first else claim_endpoints(options)

    monkeypatch.setattr(process_module, "claim_endpoints", claim)
    with EmbeddedServer(repository, OPTIONS, probe=_ask) as second:
        assert second.grpc_address != server.grpc_address


def test_a_log_that_cannot_be_written_names_the_option(repository: Path, tmp_path: Path) -> None:
    options = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, log_file=tmp_path / "missing" / "server.log"
    )
    with pytest.raises(ServerStartError, match="--log-file"):
        EmbeddedServer(repository, options).start()


def test_what_is_not_started_has_no_address(repository: Path) -> None:
    with pytest.raises(RuntimeError, match="was not started"):
        _ = EmbeddedServer(repository).grpc_address
