"""The engine benchmark: every engine measured by turns, told as a record and as a page."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_toys import TOY

from benchmarks import engines
from benchmarks.__main__ import main
from benchmarks.engines import (
    ENGINES,
    TORCH,
    TORCH_BF16,
    EngineRun,
    StageComparison,
    compare_engines,
)
from benchmarks.engines_command import require_same_weights
from benchmarks.engines_report import engines_record, render
from benchmarks.served_cost import ServedCost, processor_seconds, served_cost
from benchmarks.workload import make_workload
from export.graphs import export_graph
from export.samples import flow_inputs, inputs_of
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    TINY,
    CpuEngine,
    graph_stages,
    model_of,
)
from organseg.errors import EngineError, ReleaseError, ServerFaultError
from organseg.networks.build import build_checkpoint
from organseg.networks.stages import graph_modules
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "engines"
TABLE = (CpuEngine.OPENVINO_BF16, CpuEngine.OPENVINO, CpuEngine.ONNXRUNTIME)
SERVED = ServedCost("image_encoder", 3, 2.0, 2.1, 3.0, 1.5)


def engine_run(engine: str, seconds: float, **changed: Any) -> EngineRun:
    load = None if engine in (TORCH, TORCH_BF16) else 0.5
    run = EngineRun(engine, load, (seconds, 9 * seconds, seconds / 2), (seconds,) * 3, 1e-3, 1e-4)
    return replace(run, **changed)


def comparison(*runs: EngineRun, missing: dict[str, str] | None = None) -> StageComparison:
    return StageComparison("image_encoder", 2, {"sam_pixels": (1, 8, 8)}, runs, missing or {})


def record_of(compared: StageComparison) -> dict[str, Any]:
    about = {
        "commit": {"id": "0123456789abcdef", "modified": False},
        "machine": {"cpu": "A CPU", "cores": 2, "load_average_1_min": 0.5},
        "packages": {"numpy": "1.26.4"},
        "command": "python -m benchmarks engines",
        "preset": "toy",
        "trained": False,
        "turns": 3,
    }
    return engines_record([(compared, TABLE)], SERVED, about)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path, Any]:
    """The toy extractors: module, model, graph, inputs."""
    organ_seg = build_checkpoint(TOY, seed=0).organ_seg
    model, module = model_of(TOY, "extractors"), graph_modules(organ_seg)["extractors"]
    path = tmp_path_factory.mktemp("toy") / "extractors" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    export_graph(
        module,
        model,
        TOY,
        inputs_of(model, flow_inputs(organ_seg, 2)),
        path,
        metadata={CONTRACT_PARAMETER: CONTRACT_VERSION},
    )
    return module, model, path, flow_inputs(organ_seg, 1)


def test_every_engine_takes_its_turns_and_torch_is_the_measure(toy, monkeypatch):
    monkeypatch.setattr(engines, "LEAST_SECONDS", 0.0)
    told: list[str] = []
    found = compare_engines(*toy, threads=1, turns=2, told=told.append)
    here = [run.engine for run in found.runs]
    assert {TORCH, TORCH_BF16, "onnxruntime", "openvino"} <= set(here)
    assert set(here) | set(found.missing) == set(ENGINES)
    # Another one goes first in the second round.
    assert told == [*ENGINES, *ENGINES[1:], ENGINES[0]]
    for run in found.runs:
        assert len(run.seconds) == len(run.cpu_seconds) == 2
        assert min(run.seconds) > 0
        assert (run.load_s is None) == run.engine.startswith("torch")
    errors = {run.engine: run.relative_difference for run in found.runs}
    assert errors[TORCH] == 0
    # Float32 sums in another order; bfloat16 has 8 bits of precision.
    assert errors["onnxruntime"] < 1e-5
    assert errors["openvino"] < 1e-5
    assert 1e-5 < errors[TORCH_BF16] < 0.1


def test_an_engine_that_the_machine_has_not_is_listed_with_the_reason(toy, monkeypatch):
    monkeypatch.setattr(engines, "LEAST_SECONDS", 0.0)
    load = engines.load_with

    def without_bfloat16(engine: CpuEngine, path: Path, *, threads: int) -> Any:
        if engine is CpuEngine.OPENVINO_BF16:
            raise EngineError("wanted AMX")
        return load(engine, path, threads=threads)

    monkeypatch.setattr(engines, "load_with", without_bfloat16)
    found = compare_engines(*toy, threads=1, turns=2)
    assert found.missing == {"openvino-bf16": "wanted AMX"}
    assert "openvino-bf16" not in [run.engine for run in found.runs]
    assert "Not on this machine: OpenVINO, bfloat16 (wanted AMX)." in render(record_of(found))


def test_medians_and_ratios_are_of_the_turns_and_the_chosen_engine_is_bold():
    record = record_of(comparison(engine_run(TORCH, 8.0), engine_run("openvino-bf16", 2.0)))
    (stage,) = record["stages"]
    assert [row["median_s"] for row in stage["engines"]] == [8.0, 2.0]
    assert [row["times_torch"] for row in stage["engines"]] == [1.0, 4.0]
    assert stage["chosen"] == "openvino-bf16"
    text = render(json.loads(json.dumps(record)))
    assert "| torch eager, float32 | 8,000 ms | 1.00 × |" in text
    assert "| **OpenVINO, bfloat16** | 2,000 ms | 4.00 × | 2,000 ms | 4.00 × | 1.0e-03" in text
    assert "random weights" in text
    assert "| 2,000 ms | 2,100 ms | +5.0% | 3,000 ms | 1,500 ms |" in text
    assert "commit 0123456789ab, A CPU, 2 cores" in text


def test_where_the_tables_first_engine_is_missing_the_next_is_the_chosen_one():
    runs = (engine_run(TORCH, 8.0), engine_run("openvino", 4.0), engine_run("onnxruntime", 5.0))
    record = record_of(comparison(*runs, missing={"openvino-bf16": "no AMX"}))
    assert record["stages"][0]["chosen"] == "openvino"


@pytest.mark.parametrize("difference", [0.5, float("nan")])
def test_a_release_of_other_weights_is_told_from_an_inexact_engine(difference):
    require_same_weights(comparison(engine_run("onnxruntime", 1.0)))
    other = engine_run("onnxruntime", 1.0, relative_difference=difference)
    with pytest.raises(ReleaseError, match="leave --release out"):
        require_same_weights(comparison(engine_run(TORCH, 1.0), other))


def test_the_processor_seconds_of_a_session_are_read_from_linux(tmp_path):
    tick = os.sysconf("SC_CLK_TCK")
    for pid, session, command in ((11, 5, "stub\0/models/gate/1/model.py"), (12, 6, "other")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        fields = f"S 1 {session} {session} 0 -1 0 0 0 0 0 {3 * tick} {2 * tick} 0"
        (folder / "stat").write_text(f"{pid} (a (odd) name) {fields}")
        (folder / "cmdline").write_bytes(command.encode())
    (tmp_path / "version").touch()
    (tmp_path / "13").mkdir()
    assert processor_seconds(5, tmp_path) == {"11 stub /models/gate/1/model.py": 5.0}


def test_a_release_for_another_preset_is_one_line_on_stderr(release, tmp_path, capsys):
    arguments = ["engines", "--preset", "medsam", "--release", str(release), "--turns", "1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "wanted a release of medsam for python, got tiny for python" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.server
def test_what_serving_costs_is_reckoned_for_the_stage_and_for_the_whole_server(release):
    calls = []
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    questions = make_workload(4).questions
    with EmbeddedServer(release / "models", options, probe=EnsembleProbe()) as server:
        session = server.process_group
        cost = served_cost(
            server.grpc_address,
            session,
            "image_encoder",
            questions,
            lambda: calls.append(sum(range(10**6))),
        )
        with pytest.raises(ServerFaultError, match="found none"):
            served_cost(server.grpc_address, session, "no_such_stage", questions[:2], list)
    assert (cost.requests, len(calls)) == (3, 4)
    assert 0 < cost.stage_cpu_s < cost.server_cpu_s
    assert cost.engine_cpu_s > 0
    assert cost.median_s > 0


@pytest.mark.server
@pytest.mark.slow
def test_a_preset_is_measured_served_and_written_down(tmp_path, capsys):
    arguments = ["--preset", "tiny", "--untrained", "--turns", "1", "--requests", "2"]
    assert main(["engines", *arguments, "--out", str(tmp_path / "made")]) == 0
    record = json.loads((tmp_path / "made" / "tiny.json").read_text())
    assert [stage["stage"] for stage in record["stages"]] == [m.name for m in graph_stages(TINY)]
    assert record["trained"] is False
    assert record["served"]["requests"] == 2
    assert record["packages"]["openvino"]
    assert record["command"].endswith("--untrained --turns 1 --requests 2 --out made")
    assert (tmp_path / "made" / "tiny.md").read_text() == render(record)
    assert "## `mask_decoder`" in capsys.readouterr().out


def test_the_results_in_the_repository_are_rendered_from_their_records_and_bear_the_table_out():
    records = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    assert {"tiny", "medsam"} <= records.keys()
    for name, record in records.items():
        assert (RESULTS / f"{name}.md").read_text() == render(record)
    encoder = records["medsam"]["stages"][0]
    (chosen,) = (row for row in encoder["engines"] if row["engine"] == encoder["chosen"])
    assert encoder["stage"] == "image_encoder"
    assert chosen["times_torch"] >= 2.5
    assert records["medsam"]["served"]["overhead"] <= 0.15
