"""What tests of several rooms share: the shared scans, a release with known answers, a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from organseg.serving.embedded import EmbeddedServer

REPO_ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = REPO_ROOT.parent / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Keeps torch to one thread where several test processes share the cores (`make test`)."""
    if hasattr(config, "workerinput"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real scans that lie beside the checkout; a test that wants them skips without."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the constructed checkpoint, whose answers are known."""
    import copy

    from constructed import constructed_checkpoint
    from export.progress import Progress
    from export.release import write_release
    from organseg.contract import TINY, Platform

    out = tmp_path_factory.mktemp("releases") / "constructed"
    write_release(
        # Exporting merges the adapter, and others want it unmerged.
        copy.deepcopy(constructed_checkpoint()),
        TINY,
        Platform.PYTHON,
        out,
        replace=False,
        progress=Progress(quiet=True),
    )
    return out


@contextmanager
def served(release: Path, **options: Any) -> Iterator[EmbeddedServer]:
    """An embedded server with ports of its own."""
    from organseg.contract import CpuEngine
    from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
    from organseg.serving.manifest import MODELS_FOLDER

    # In float32 on every CPU, so that answers can be held against torch's. What bfloat16 moves is
    # held by tests/serving/test_cpu_engines_agree.py.
    chosen = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, engine=CpuEngine.ONNXRUNTIME, **options
    )
    with EmbeddedServer(release / MODELS_FOLDER, chosen, probe=EnsembleProbe()) as started:
        yield started


@pytest.fixture(scope="session")
def ensemble_server(release: Path) -> Iterator[EmbeddedServer]:
    """The embedded server that serves `release`, with ports of its own."""
    from organseg.serving.manifest import verify_release

    verify_release(release)
    with served(release) as started:
        yield started


@pytest.fixture(scope="session")
def server_address(ensemble_server: EmbeddedServer) -> str:
    """The gRPC address of the embedded server that serves `release`."""
    return ensemble_server.grpc_address


@pytest.fixture
def left_address(release: Path) -> Iterator[str]:
    """The gRPC address of a server of the test's own, for a client that gives up.

    Triton 2.51 may come down some time after one did (decision 21), and with it the tests behind.
    """
    with served(release, stop_timeout_s=5) as started:
        yield started.grpc_address
