"""Every graph is parsed and compiled by TensorRT-RTX, ahead of time, where there is no GPU.

What this proves: TensorRT's parser takes every operator, and its compiler finds kernels for every
layer and shape of the contract. What it does not: numbers on a GPU, SM 90, and classic TensorRT,
which is close to it and not the same.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.graphs import export_graph
from export.precision import Precision, lower
from export.tensorrt_plans import (
    TENSORRT,
    TENSORRT_RTX,
    _use_timing_cache,
    compile_plan,
    load_library,
)
from organseg.contract import MEDSAM, TINY, ModelKind, model_of, models_of
from organseg.contract.engines import ShapeRange, tensorrt_profile
from organseg.errors import EngineError
from organseg.networks.segmenter import Segmenter
from organseg.networks.stages import ImageEncoderModule, MaskDecoderModule

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="TensorRT-RTX's packages are for Linux on x86-64",
)
GRAPHS = [model.name for model in models_of(TINY) if model.kind is ModelKind.GRAPH]
FULL_SIZE = ["image_encoder", "mask_decoder"]
CAPABILITIES = ["8.6", "8.9"]


@pytest.fixture(scope="module")
def tensorrt_rtx():
    return load_library(TENSORRT_RTX)


@pytest.fixture(scope="module")
def tiny(release, tmp_path_factory):
    """The path of every graph of `tiny` in every precision."""
    folder = tmp_path_factory.mktemp("tiny")
    return {
        key: path
        for name in GRAPHS
        for key, path in in_precisions(
            onnx.load(str(release / "models" / name / "1" / "model.onnx")), name, folder
        ).items()
    }


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """MedSAM's own graphs at full size, random weights."""
    folder = tmp_path_factory.mktemp("medsam")
    segmenter = Segmenter(MEDSAM.segmenter).eval()
    found = {}
    for module in (ImageEncoderModule(segmenter), MaskDecoderModule(segmenter)):
        model = model_of(MEDSAM, module.name)
        # Their shapes are all that counts; a size of one would be burnt in.
        inputs = tuple(
            torch.zeros((2, *tensor.shape("max")), dtype=getattr(torch, str(tensor.dtype.numpy)))
            for tensor in model.inputs
        )
        path = folder / f"{module.name}.onnx"
        export_graph(module.eval(), model, MEDSAM, inputs, path, metadata={})
        found |= in_precisions(onnx.load(str(path)), module.name, folder)
    return found


def in_precisions(graph: onnx.ModelProto, name: str, folder: Path) -> dict[tuple, Path]:
    paths = {}
    for precision in Precision:
        paths[name, precision] = folder / f"{name}.{precision.value}.onnx"
        onnx.save(lower(graph, precision), str(paths[name, precision]))
    return paths


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_of_tiny_compiles(tensorrt_rtx, tiny, name, precision, capability):
    profile = tensorrt_profile(TINY, model_of(TINY, name))
    plan = compile_plan(tensorrt_rtx, tiny[name, precision], profile, compute_capability=capability)
    assert len(plan.engine) > 100_000
    assert not plan.errors


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("name", FULL_SIZE)
def test_medsam_compiles_at_full_size(tensorrt_rtx, full_size, name, precision, capability):
    profile = tensorrt_profile(MEDSAM, model_of(MEDSAM, name))
    plan = compile_plan(
        tensorrt_rtx, full_size[name, precision], profile, compute_capability=capability
    )
    weights = 0.9 * full_size[name, precision].stat().st_size
    assert len(plan.engine) > weights
    assert not plan.errors


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", GRAPHS)
def test_polygraphy_finds_nothing_that_tensorrt_does_not_support(tiny, name, precision, tmp_path):
    polygraphy = Path(sys.executable).with_name("polygraphy")
    run = subprocess.run(
        [polygraphy, "inspect", "capability", tiny[name, precision]],
        capture_output=True,
        text=True,
        env={**os.environ, "POLYGRAPHY_USE_TENSORRT_RTX": "1"},
        check=False,
        # Where it did find something, it would write its report there.
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Graph is fully supported by TensorRT" in run.stdout


def one_node(tmp_path: Path, node: onnx.NodeProto, domain: str = "") -> Path:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


PROFILE = {"x": ShapeRange(min=(1, 8), opt=(2, 8), max=(4, 8))}


def test_an_operator_that_tensorrt_lacks_is_refused_by_name(tensorrt_rtx, tmp_path):
    node = helper.make_node("Bile", ["x"], ["y"], name="gallbladder", domain="organ.seg")
    path = one_node(tmp_path, node, "organ.seg")
    with pytest.raises(EngineError, match=r"parser refused it: Bile gallbladder"):
        compile_plan(tensorrt_rtx, path, PROFILE, compute_capability="8.6")


def test_shapes_that_a_graph_cannot_have_are_refused(tensorrt_rtx, tmp_path):
    path = one_node(tmp_path, helper.make_node("Relu", ["x"], ["y"]))
    assert compile_plan(tensorrt_rtx, path, PROFILE, compute_capability="8.6").engine
    wrong = {"x": ShapeRange(min=(1, 8), opt=(2, 9), max=(4, 8))}
    with pytest.raises(EngineError, match=r"one\.onnx"):
        compile_plan(tensorrt_rtx, path, wrong, compute_capability="8.6")


def test_float32_is_never_cut_to_tensorfloat32(tensorrt_rtx, tmp_path, monkeypatch):
    cleared = []
    make = tensorrt_rtx.Builder.create_builder_config

    def watched(builder):
        config = make(builder)
        monkeypatch.setattr(
            tensorrt_rtx.Builder,
            "build_serialized_network",
            lambda builder, network, config: cleared.append(
                config.get_flag(tensorrt_rtx.BuilderFlag.TF32)
            ),
        )
        assert config.get_flag(tensorrt_rtx.BuilderFlag.TF32)
        return config

    monkeypatch.setattr(tensorrt_rtx.Builder, "create_builder_config", watched)
    path = one_node(tmp_path, helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(EngineError):
        compile_plan(tensorrt_rtx, path, PROFILE, compute_capability="8.6")
    assert cleared == [False]


class Config:
    """What TensorRT's builder configuration does with timing caches."""

    def __init__(self, foreign, unreadable=False):
        self.foreign, self.unreadable, self.used = foreign, unreadable, None

    def create_timing_cache(self, stored):
        return None if stored and self.unreadable else stored

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if cache and self.foreign:
            return False
        self.used = cache
        return True


@pytest.mark.parametrize(
    ("config", "used", "warned"),
    [
        (Config(foreign=False), b"times", False),
        (Config(foreign=True), b"", True),
        (Config(foreign=False, unreadable=True), b"", True),
    ],
)
def test_a_timing_cache_of_another_machine_is_begun_anew(config, used, warned):
    log: list[str] = []
    _use_timing_cache(config, b"times", log)
    assert config.used == used
    assert bool(log) is warned


def test_a_capability_it_does_not_compile_for_is_named_with_those_it_does(tensorrt_rtx, tmp_path):
    path = one_node(tmp_path, helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(EngineError, match=r"8\.6, 8\.9.*got 9\.0"):
        compile_plan(tensorrt_rtx, path, PROFILE, compute_capability="9.0")


@pytest.mark.parametrize(
    ("package", "remedy"), [(TENSORRT, "extra `gpu`"), (TENSORRT_RTX, "compile-gate.txt")]
)
def test_a_package_that_is_not_there_is_named_with_its_remedy(monkeypatch, package, remedy):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=f"wanted the package {package}.*{remedy}"):
        load_library(package)
