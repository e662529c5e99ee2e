"""Devices for the benchmark of a GPU, and the stages of `tiny` in every form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu.device import CpuDevice, CudaDevice
from benchmarks.gpu.engines import StageGraph
from constructed import constructed_checkpoint
from export.precision import Precision
from organseg.contract import TINY, graph_stages
from organseg.networks.stages import graph_modules


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
