"""A request through the embedded server whose language model runs on the GPU.

The embedded server's releases are for a CPU. Here the configuration of one stage in a copy of a
release is changed: `llava_med` is placed on the GPU, and its Python model then loads bfloat16
weights there. The graphs stay on the CPU, as the embedded server has no other backend.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu.work import LANGUAGE_STAGE
from benchmarks.stages import DEADLINE_S
from benchmarks.workload import Workload
from organseg.contract.pbtxt import on_gpu
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import OrganSegClient


@contextmanager
def served(release: Path, *, on_cuda: bool) -> Iterator[str]:
    """The gRPC address of a server of the release; it ends with the block.

    Args:
        release: a release for the platform `python`.
        on_cuda: whether the language model is placed on the GPU.

    Raises:
        ReleaseError: the release is not whole.
        ServerStartError: the server does not start here, as where CUDA does not.
    """
    verify_release(release)
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with TemporaryDirectory(prefix="organseg-gpu-") as temporary:
        models = release / MODELS_FOLDER
        if on_cuda:
            models = place_on_gpu(models, Path(temporary) / MODELS_FOLDER)
        with EmbeddedServer(models, options, probe=EnsembleProbe()) as server:
            yield server.grpc_address


def place_on_gpu(models: Path, copy: Path) -> Path:
    """A copy of a release's models with the language model placed on the GPU; gives its path."""
    # Weights may be large, and nothing changes them.
    shutil.copytree(models, copy, copy_function=_link)
    config = copy / LANGUAGE_STAGE / "config.pbtxt"
    text = on_gpu(config.read_text(encoding="utf-8"))
    # The file is the release's own: it is replaced, not written into.
    config.unlink()
    config.write_text(text, encoding="utf-8")
    return copy


def ask_all(address: str, workload: Workload) -> Iterator[None]:
    """Asks the server one question of the workload at each step, over one connection."""
    with OrganSegClient(address, deadline_s=DEADLINE_S) as client:
        client.connect()
        for question in workload.questions:
            client.segment(question.image, question.text)
            yield


def _link(source: str, target: str) -> None:
    """One more name for a file; a copy where the file system has no second name for it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
