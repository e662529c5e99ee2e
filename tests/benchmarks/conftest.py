"""What benchmarks are run on: servers, devices, and the stages of `tiny` in every form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.device import CpuDevice, CudaDevice
from benchmarks.gpu.engines import StageGraph
from benchmarks.served import Served, serving
from constructed import constructed_checkpoint
from export.precision import Precision
from organseg.contract import TINY, graph_stages
from organseg.networks.stages import graph_modules
from organseg.serving.embedded import EmbeddedServer
from organseg.serving.manifest import verify_release

Serving = Callable[[Path, None], AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def serving_again(ensemble_server: EmbeddedServer, release: Path) -> Serving:
    """`serving` that has one server of `release` already, the session's, and starts all others."""
    manifest = verify_release(release)
    known = {
        "address": "embedded",
        "preset": manifest.preset,
        "release": {"platform": manifest.platform, "created": manifest.created},
    }
    free = [
        Served(
            ensemble_server.grpc_address,
            known,
            ensemble_server.process_group,
            ensemble_server.metrics_url,
        )
    ]

    @contextmanager
    def serve(wanted: Path, url: None) -> Iterator[Served]:
        if not free or wanted != release:
            with serving(wanted, url) as started:
                yield started
            return
        there = free.pop()
        try:
            yield there
        finally:
            free.append(there)

    return serve


@pytest.fixture(scope="session")
def cpu() -> CpuDevice:
    return CpuDevice()


@pytest.fixture(scope="session")
def cuda() -> CudaDevice:
    """The first GPU; a test that wants it skips without."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU on this machine")
    return CudaDevice()


@pytest.fixture(scope="session")
def tiny_stages(release: Path) -> dict[str, StageGraph]:
    """The graph stages of the constructed release, on the CPU."""
    modules = graph_modules(constructed_checkpoint().organ_seg)
    return {
        model.name: StageGraph(
            model=model,
            preset=TINY,
            module=modules[model.name],
            graph=release / "models" / model.name / "1" / "model.onnx",
            precision=Precision.FP32,
        )
        for model in graph_stages(TINY)
    }
