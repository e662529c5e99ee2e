"""Which engine a stage takes: the table's first that is there, or the user's."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from organseg.contract import TINY, CpuEngine, Platform, model_of
from organseg.contract.cpu_engines import ENGINES_PARAMETER, engines_of, engines_text
from organseg.errors import ContractError, EngineError
from organseg.serving import engine_choice
from organseg.serving.cpu_features import (
    AMX_BFLOAT16,
    AVX512_BFLOAT16,
    cpu_features,
    gains_in_bfloat16,
)
from organseg.serving.engine_choice import ENGINE_VARIABLE, engines_for, load_graph, load_with
from organseg.serving.onnxruntime_graph import OnnxRuntimeGraph
from organseg.serving.openvino_graph import OpenVinoGraph
from organseg.serving.stage import StageContext
from organseg.serving.stages.graph import ExtractorsStage

ROUNDED = (CpuEngine.OPENVINO_BF16, CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)


@pytest.fixture
def graph(release: Path) -> Path:
    return release / "models" / "extractors" / "1" / Platform.PYTHON.graph_file


@pytest.fixture(autouse=True)
def no_choice_of_the_user(monkeypatch):
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)


@pytest.fixture
def without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)


def on_a_cpu_with(monkeypatch, *features: str, gains: bool = True) -> None:
    monkeypatch.setattr(engine_choice, "cpu_features", lambda: frozenset(features))
    monkeypatch.setattr(engine_choice, "gains_in_bfloat16", lambda: gains)


def test_the_config_says_the_engines_and_one_that_says_nothing_means_onnx_runtime():
    said = {ENGINES_PARAMETER: engines_text(ROUNDED)}
    assert engines_for("image_encoder", said) == ROUNDED
    assert engines_for("image_encoder", {}) == (CpuEngine.ONNXRUNTIME,)


def test_the_users_engine_overrides_the_table_and_rounds_only_what_may_be_rounded(monkeypatch):
    said = {ENGINES_PARAMETER: "onnxruntime"}
    monkeypatch.setenv(ENGINE_VARIABLE, "openvino-bf16")
    assert engines_for("image_encoder", said) == (CpuEngine.OPENVINO_BF16,)
    assert engines_for("mask_decoder", said) == (CpuEngine.OPENVINO,)
    monkeypatch.setenv(ENGINE_VARIABLE, "openvino-bf16,openvino,onnxruntime")
    assert engines_for("mask_decoder", said) == (CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)
    monkeypatch.setenv(ENGINE_VARIABLE, "tensorflow")
    with pytest.raises(ContractError, match="got 'tensorflow'"):
        engines_for("mask_decoder", said)


def test_the_first_engine_that_is_there_is_taken_in_silence(graph, caplog):
    engines = (CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)
    assert isinstance(load_graph(graph, engines, threads=1), OpenVinoGraph)
    assert isinstance(load_graph(graph, engines[::-1], threads=1), OnnxRuntimeGraph)
    assert not caplog.records


def test_on_a_cpu_without_bfloat16_the_next_engine_is_taken_and_the_log_says_why(
    graph, monkeypatch, caplog
):
    on_a_cpu_with(monkeypatch, "avx2", "avx512_vnni")
    with caplog.at_level(logging.WARNING):
        loaded = load_graph(graph, ROUNDED, threads=1)
    assert isinstance(loaded, OpenVinoGraph)
    (line,) = caplog.messages
    assert line.startswith("extractors runs by openvino: wanted a CPU with amx_bf16 or avx512_bf16")


def test_where_bfloat16_gains_nothing_the_next_engine_is_taken_unless_it_was_chosen(
    graph, monkeypatch, caplog
):
    made = []
    monkeypatch.setattr(
        "organseg.serving.openvino_graph.OpenVinoGraph",
        lambda path, *, threads, bfloat16: made.append(bfloat16),
    )
    on_a_cpu_with(monkeypatch, AVX512_BFLOAT16, gains=False)
    with caplog.at_level(logging.WARNING):
        load_graph(graph, ROUNDED, threads=1)
    (line,) = caplog.messages
    assert line.startswith("extractors runs by openvino: wanted a CPU that gains by openvino-bf16")
    load_graph(graph, ROUNDED[:1], threads=1)
    assert made == [False, True]


def test_without_openvino_onnx_runtime_is_taken_and_the_log_says_why(
    graph, monkeypatch, caplog, without_openvino
):
    on_a_cpu_with(monkeypatch, AMX_BFLOAT16)
    with caplog.at_level(logging.WARNING):
        loaded = load_graph(graph, ROUNDED, threads=1)
    assert isinstance(loaded, OnnxRuntimeGraph)
    # One reason for two engines is told once.
    (line,) = caplog.messages
    assert line.startswith("extractors runs by onnxruntime: ")
    assert "the package is not installed: pip install" in line


def test_where_no_engine_is_there_the_error_names_every_reason(
    graph, monkeypatch, without_openvino
):
    on_a_cpu_with(monkeypatch)
    engines = (CpuEngine.OPENVINO_BF16, CpuEngine.OPENVINO)
    with pytest.raises(EngineError, match=r"amx_bf16 .*; .* not installed"):
        load_graph(graph, engines, threads=1)


@pytest.mark.parametrize("feature", [AMX_BFLOAT16, AVX512_BFLOAT16])
def test_with_the_cpus_products_of_bfloat16_openvino_computes_in_it(graph, monkeypatch, feature):
    made = []
    monkeypatch.setattr(
        "organseg.serving.openvino_graph.OpenVinoGraph",
        lambda path, *, threads, bfloat16: made.append((threads, bfloat16)),
    )
    on_a_cpu_with(monkeypatch, feature)
    load_with(CpuEngine.OPENVINO_BF16, graph, threads=3)
    load_with(CpuEngine.OPENVINO, graph, threads=2)
    assert made == [(3, True), (2, False)]


def test_a_stage_runs_in_the_engine_of_its_context(graph, monkeypatch):
    taken = []
    monkeypatch.setattr(
        "organseg.serving.stages.graph.load_graph",
        lambda path, engines, *, threads: taken.append((path, engines, threads)),
    )
    ExtractorsStage(StageContext(TINY, graph.parent, threads=2, engines=(CpuEngine.OPENVINO,)))
    ExtractorsStage(StageContext(TINY, graph.parent, threads=1))
    assert taken == [(graph, (CpuEngine.OPENVINO,), 2), (graph, (CpuEngine.ONNXRUNTIME,), 1)]


def test_the_release_itself_says_what_the_table_says(release):
    from organseg.contract.pbtxt import parse_config

    for stage in ("image_encoder", "extractors", "mask_decoder"):
        config = parse_config((release / "models" / stage / "config.pbtxt").read_text())
        said = {key: value.string_value for key, value in config.parameters.items()}
        assert engines_for(stage, said) == engines_of(model_of(TINY, stage))


def test_the_cpus_features_are_read_from_linux_and_none_are_known_elsewhere(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16 avx2\nbugs\t: none\n")
    assert cpu_features.__wrapped__(listing) == {"fpu", "amx_bf16", "avx2"}
    assert cpu_features.__wrapped__(tmp_path / "none") == frozenset()
    listing.write_text("Features : fp asimd\n")
    assert cpu_features.__wrapped__(listing) == frozenset()


@pytest.mark.parametrize(
    ("vendor", "flags", "gains"),
    [
        ("GenuineIntel", "avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512_bf16", False),
        ("AuthenticAMD", "avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
    ],
)
def test_which_cpus_gain_in_bfloat16(tmp_path, vendor, flags, gains):
    listing = tmp_path / "cpuinfo"
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n"
    listing.write_text(f"{one}\n{one}")
    assert gains_in_bfloat16.__wrapped__(listing) == gains
    assert not gains_in_bfloat16.__wrapped__(tmp_path / "none")
