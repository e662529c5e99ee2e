"""Releases: complete, immutable, and never half there."""

from __future__ import annotations

import copy
from pathlib import Path

import onnx
import pytest
import torch

from constructed import constructed_checkpoint
from export.__main__ import main
from export.graphs import export_graph
from export.parity import BATCHES, TOLERANCE, compare_graph, require_parity
from export.progress import Progress
from export.release import _write_configs, write_release
from export.samples import flow_inputs, inputs_of
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    TINY,
    ModelKind,
    Platform,
    ensembles_of,
    model_of,
    models_of,
    served_models,
)
from organseg.contract.checker import check_graph
from organseg.contract.pbtxt import render_configs
from organseg.errors import ReleaseError
from organseg.networks.stages import graph_modules
from organseg.serving.manifest import verify_release

GRAPHS = [model.name for model in models_of(TINY) if model.kind is ModelKind.GRAPH]


def test_a_release_verifies_and_says_what_it_is(release: Path):
    manifest = verify_release(release)
    assert manifest.preset == "tiny"
    assert manifest.platform == "python"
    assert manifest.contract_version == CONTRACT_VERSION
    assert manifest.trained is False
    assert {"torch", "onnx", "onnxruntime"} <= set(manifest.tools)


def test_a_release_holds_every_model_of_the_contract(release: Path):
    names = {model.name for model in served_models(TINY)}
    names |= {ensemble.name for ensemble in ensembles_of(TINY)}
    assert {path.name for path in (release / "models").iterdir()} == names
    for name in names:
        assert (release / "models" / name / "config.pbtxt").is_file()
        assert (release / "models" / name / "1").is_dir()


def test_the_manifest_carries_the_parity_of_every_graph_alone_and_joined(release: Path):
    records = verify_release(release).parity
    assert {(r["graph"], r["batch"]) for r in records} == {(g, b) for g in GRAPHS for b in BATCHES}
    for record in records:
        assert 0 <= record["max_difference"] <= TOLERANCE
        assert record["verdicts_identical"] is (True if record["graph"] == "extractors" else None)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_released_graph_matches_its_config_and_carries_the_contract_version(release, name):
    folder = release / "models" / name
    check_graph((folder / "config.pbtxt").read_text(), folder / "1" / "model.onnx")
    # The native backends would load the very same graph.
    for platform in (Platform.ONNXRUNTIME, Platform.TENSORRT):
        check_graph(render_configs(TINY, platform)[name], folder / "1" / "model.onnx")
    graph = onnx.load(str(folder / "1" / "model.onnx"))
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata[CONTRACT_PARAMETER] == CONTRACT_VERSION
    assert metadata["trained"] == "false"


def test_the_context_cache_is_a_constant_of_the_extractors_graph(release: Path):
    graph = onnx.load(str(release / "models" / "extractors" / "1" / "model.onnx")).graph
    cache = constructed_checkpoint().cache
    constants = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    for rows in (cache.organ_prototypes, cache.irrelevant_prototypes):
        assert any(
            array.shape in (rows.shape, rows.T.shape)
            and (
                array.reshape(-1) == (rows if array.shape == rows.shape else rows.T).reshape(-1)
            ).all()
            for array in constants
        )


def test_no_graph_holds_an_operator_that_tensorrt_is_known_to_refuse(release: Path):
    for name in GRAPHS:
        graph = onnx.load(str(release / "models" / name / "1" / "model.onnx")).graph
        assert not {node.op_type for node in graph.node} & {"OneHot", "Tile", "ScatterND", "If"}


def test_the_language_model_is_merged_and_no_adapter_is_left(release: Path):
    weights = (release / "models" / "llava_med" / "1" / "vision_language").glob("*")
    names = {path.name for path in weights}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    from safetensors import safe_open

    folder = release / "models" / "llava_med" / "1" / "vision_language"
    with safe_open(str(folder / "model.safetensors"), framework="numpy") as file:
        assert not [key for key in file.keys() if "lora" in key or "base_layer" in key]  # noqa: SIM118


def test_every_file_of_a_release_can_be_read_by_another_user(release: Path):
    for path in release.rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_a_place_that_is_taken_is_refused_and_left_as_it_is(tmp_path):
    taken = tmp_path / "release"
    taken.mkdir()
    (taken / "precious").write_text("here")
    with pytest.raises(ReleaseError, match="--replace"):
        write_release(
            constructed_checkpoint(),
            TINY,
            Platform.PYTHON,
            taken,
            replace=False,
            progress=Progress(quiet=True),
        )
    assert (taken / "precious").read_text() == "here"


def write_anew(out: Path) -> None:
    write_release(
        copy.deepcopy(constructed_checkpoint()),
        TINY,
        Platform.PYTHON,
        out,
        replace=True,
        progress=Progress(quiet=True),
    )


def test_only_a_release_is_ever_replaced(tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "wedding.jpg").write_text("here")
    with pytest.raises(ReleaseError, match="nothing was touched"):
        write_anew(photographs)
    assert (photographs / "wedding.jpg").read_text() == "here"
    with pytest.raises(ReleaseError, match="is a file"):
        write_anew(photographs / "wedding.jpg")


def test_a_failed_replacement_leaves_the_earlier_release(tmp_path, monkeypatch):
    earlier = tmp_path / "release"
    earlier.mkdir()
    (earlier / "manifest.json").write_text("earlier")
    monkeypatch.setattr("export.release.require_parity", lambda records: 1 / 0)
    monkeypatch.setattr("export.graph_steps.export_graph", lambda *a, **k: (0, 0))
    monkeypatch.setattr("export.graph_steps.compare_graph", lambda *a: [])
    monkeypatch.setattr("export.release.check_graph", lambda *a: None)
    with pytest.raises(ZeroDivisionError):
        write_anew(earlier)
    assert (earlier / "manifest.json").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_failed_export_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ReleaseError("wanted a graph, got none: this is a test")

    monkeypatch.setattr("export.graph_steps.export_graph", broken)
    with pytest.raises(ReleaseError, match="this is a test"):
        write_release(
            copy.deepcopy(constructed_checkpoint()),
            TINY,
            Platform.PYTHON,
            tmp_path / "release",
            replace=False,
            progress=Progress(quiet=True),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_differs_from_torch_is_not_released(release: Path):
    checkpoint = constructed_checkpoint()
    altered = copy.deepcopy(checkpoint.organ_seg)
    with torch.no_grad():
        altered.extractors.information_of_interest.layers[-1].weight.mul_(-1)
    records = compare_graph(
        release / "models" / "extractors" / "1" / "model.onnx",
        graph_modules(altered)["extractors"],
        model_of(TINY, "extractors"),
        [flow_inputs(checkpoint.organ_seg, batch) for batch in BATCHES],
        checkpoint.cache.thresholds,
    )
    assert all(not record.holds and record.verdicts_identical is False for record in records)
    with pytest.raises(ReleaseError, match="nothing was released"):
        require_parity(records)


@pytest.mark.parametrize("platform", [Platform.ONNXRUNTIME, Platform.TENSORRT])
def test_native_platforms_get_no_python_file_for_their_graphs(tmp_path, platform):
    _write_configs(tmp_path, TINY, platform)
    for model in served_models(TINY):
        has_python = (tmp_path / model.name / "1" / "model.py").exists()
        assert has_python is (model.kind is ModelKind.PYTHON)


def test_sample_inputs_have_the_contracts_types_and_differ_within_a_batch():
    organ_seg = constructed_checkpoint().organ_seg
    tensors = flow_inputs(organ_seg, 3)
    for name in GRAPHS:
        for tensor in inputs_of(model_of(TINY, name), tensors):
            assert not torch.equal(tensor[0], tensor[1])


def test_the_command_names_an_unusable_checkpoint_in_one_sentence(tmp_path, capsys):
    assert main(["--checkpoint", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "export: wanted a checkpoint folder" in said
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_size_than_the_contracts_stops_the_export(tmp_path):
    organ_seg = constructed_checkpoint().organ_seg
    model = model_of(TINY, "extractors")
    wrong = graph_modules(organ_seg)["extractors"]
    swapped = model.__class__(
        model.name,
        model.kind,
        model.inputs,
        (model.outputs[1], model.outputs[0], *model.outputs[2:]),
        model.doc,
    )
    inputs = inputs_of(model, flow_inputs(organ_seg, 2))
    with pytest.raises(ValueError, match="wanted axis 1 of size 13"):
        export_graph(wrong, swapped, TINY, inputs, tmp_path / "model.onnx", metadata={})
