"""A release of engines: compiled ahead of time here, by the same code that builds on a GPU."""

from __future__ import annotations

import copy
import json
import platform
import sys

import pytest

from constructed import constructed_checkpoint
from export.__main__ import main
from export.engines import Target
from export.precision import Precision
from export.progress import Progress
from export.release import write_release
from export.tensorrt_plans import TENSORRT, TENSORRT_RTX, load_library
from organseg.__main__ import main as organseg
from organseg.contract import TINY, ModelKind, Platform, models_of
from organseg.contract.pbtxt import parse_config, with_engine
from organseg.errors import EngineError
from organseg.serving.engine_cards import read_cards, require_engines_fit
from organseg.serving.gpu_machine import Gpu, GpuMachine, release_of
from organseg.serving.manifest import verify_release

GRAPHS = {model.name for model in models_of(TINY) if model.kind is ModelKind.GRAPH}
A10 = Gpu("NVIDIA A10", "8.6")
needs_rtx = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="TensorRT-RTX's packages are for Linux on x86-64",
)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A release with engines for an A10, which is not here."""
    out = tmp_path_factory.mktemp("releases") / "engines"
    write_release(
        copy.deepcopy(constructed_checkpoint()),
        TINY,
        Platform.TENSORRT,
        out,
        replace=False,
        progress=Progress(quiet=True),
        precision=Precision.FP16,
        target=Target(load_library(TENSORRT_RTX), A10, ahead_of_time=True),
    )
    return out


@needs_rtx
def test_every_graph_is_an_engine_with_its_card_and_the_builders_log(engines):
    manifest = verify_release(engines)
    assert (manifest.platform, manifest.precision) == ("tensorrt", "fp16")
    assert not list(engines.rglob("*.onnx"))
    cards = read_cards(engines / "models")
    assert {card.model for card in cards} == GRAPHS
    for card in cards:
        folder = engines / "models" / card.model
        path = f"models/{card.model}/1/{card.engine}"
        assert manifest.files[path] == card.sha256
        assert manifest.files[f"{path}.json"]
        assert "Engine generation completed" in (engines / f"{path}.log").read_text()
        assert (card.compute_capability, card.gpu, card.precision) == ("8.6", "NVIDIA A10", "fp16")
        assert card.engine == f"model_trt{release_of(card.tensorrt)}_sm86.plan"
        config = parse_config((folder / "config.pbtxt").read_text())
        assert dict(config.cc_model_filenames) == {"8.6": card.engine}
        assert not config.default_model_filename


@needs_rtx
def test_a_machine_that_fits_is_taken_and_another_is_told_what_to_do(engines):
    models = engines / "models"
    built_by = release_of(read_cards(models)[0].tensorrt)
    require_engines_fit(models, GpuMachine((A10, A10), built_by))
    for machine, words in (
        (GpuMachine((A10,), "10.9.0"), rf"was built by \(TensorRT {built_by}.*has 10\.9\.0"),
        (GpuMachine((A10,), None), "this machine has none"),
        (GpuMachine((), built_by), "this machine has none"),
        (GpuMachine((A10, Gpu("NVIDIA L4", "8.9")), built_by), r"NVIDIA L4 \(8\.9\)"),
    ):
        with pytest.raises(EngineError, match=words) as refusal:
            require_engines_fit(models, machine)
        assert "--platform tensorrt" in str(refusal.value)


@needs_rtx
def test_verify_refuses_engines_that_this_machine_cannot_load(engines, capsys):
    if "tensorrt" in sys.modules:
        pytest.skip("this machine has TensorRT")
    assert organseg(["verify", str(engines)]) == 1
    assert "was built by" in capsys.readouterr().err


@needs_rtx
def test_an_engine_without_its_card_is_refused(engines, tmp_path):
    folder = tmp_path / "models" / "image_encoder" / "1"
    folder.mkdir(parents=True)
    (folder / "model_trt10.9.0_sm86.plan").write_bytes(b"engine")
    with pytest.raises(EngineError, match="wanted a card beside image_encoder's engine"):
        read_cards(tmp_path / "models")
    (folder / "model_trt10.9.0_sm86.plan.json").write_text(json.dumps({"model": "other"}))
    with pytest.raises(EngineError, match="KeyError"):
        read_cards(tmp_path / "models")


def test_a_config_loads_its_engine_on_one_kind_of_gpu_alone():
    text = with_engine('name: "m" default_model_filename: "model.plan"', "8.9", "some.plan")
    config = parse_config(text)
    assert dict(config.cc_model_filenames) == {"8.9": "some.plan"}
    assert not config.default_model_filename


def test_verify_says_what_a_release_is(release, capsys):
    assert organseg(["verify", str(release)]) == 0
    assert "preset tiny for python in fp32" in capsys.readouterr().out
    assert organseg(["verify", str(release.parent)]) == 1
    assert "manifest" in capsys.readouterr().err


def test_engines_are_refused_where_tensorrt_is_missing_before_anything_is_exported(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, TENSORRT, None)
    out = tmp_path / "release"
    assert main(["--platform", "tensorrt", "--out", str(out)]) == 1
    assert "wanted the package tensorrt" in capsys.readouterr().err
    assert not out.exists()
