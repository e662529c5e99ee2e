"""The CPU engines on the exported graphs of `tiny`: one contract, one answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.__main__ import SHIPPED
from export.acceptance import LEAST_DICE, accept
from export.samples import flow_inputs, inputs_of
from organseg.contract import (
    CONTRACT_PARAMETER,
    PROMPT_COUNTS,
    TINY,
    CpuEngine,
    graph_stages,
    model_of,
)
from organseg.errors import ContractError, ReleaseError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.serving.cpu_features import AMX_BFLOAT16, AVX512_BFLOAT16, cpu_features
from organseg.serving.engine_choice import load_with
from organseg.serving.graph_engine import GraphEngine
from organseg.serving.onnxruntime_graph import OnnxRuntimeGraph
from organseg.serving.openvino_graph import OpenVinoGraph
from organseg.serving.stage import Arrays

STAGES = [model.name for model in graph_stages(TINY)]
ENGINES = (OnnxRuntimeGraph, OpenVinoGraph)

FLOAT32_TOLERANCE = 1e-4
"""As a share of an output's largest value: what two orders of summing float32 differ by, with room
(seen: 3e-6). `export.parity` grants ONNX Runtime and torch as much."""
HALF_TOLERANCE = 2e-3
"""The same for an output in half precision, whose neighbours are 2^-10 of their size apart: two
engines may round to different neighbours (seen: 7e-4)."""

wants_bfloat16 = pytest.mark.skipif(
    not {AMX_BFLOAT16, AVX512_BFLOAT16} & cpu_features(),
    reason="this CPU has neither amx_bf16 nor avx512_bf16",
)


def graph_of(release: Path, stage: str) -> Path:
    return release / "models" / stage / "1" / "model.onnx"


@pytest.fixture(scope="module")
def requests() -> dict[str, np.ndarray]:
    """What every stage reads, for three requests with the most prompts that there are."""
    # The flow of other weights: agreement of engines asks for real inputs, not for its own.
    organ_seg = build_checkpoint(TINY, seed=7).organ_seg
    tensors = flow_inputs(organ_seg, 3)
    corners = np.random.default_rng(0).uniform(0, 0.5, (3, max(PROMPT_COUNTS), 2, 2))
    boxes = np.cumsum(corners, axis=2).reshape(3, max(PROMPT_COUNTS), 4).astype(np.float32)
    arrays = {
        tensor.name: value.numpy()
        for stage in STAGES
        for tensor, value in zip(
            model_of(TINY, stage).inputs, inputs_of(model_of(TINY, stage), tensors), strict=True
        )
    }
    return {**arrays, "prompt_boxes": boxes}


def feed(stage: str, requests: dict[str, np.ndarray], batch: int, prompts: int) -> Arrays:
    given = {tensor.name: requests[tensor.name][:batch] for tensor in model_of(TINY, stage).inputs}
    if "prompt_boxes" in given:
        given["prompt_boxes"] = np.ascontiguousarray(given["prompt_boxes"][:, :prompts])
    return given


@pytest.mark.parametrize("stage", STAGES)
def test_openvino_in_float32_agrees_with_onnx_runtime_at_every_batch_and_number_of_prompts(
    release, requests, stage
):
    one, other = (engine(graph_of(release, stage), threads=1) for engine in ENGINES)
    counts = PROMPT_COUNTS if stage == "mask_decoder" else (1,)
    for batch, prompts in [(b, k) for b in (1, 2, 3) for k in counts]:
        given = feed(stage, requests, batch, prompts)
        wanted, got = one.infer(given), other.infer(given)
        assert got.keys() == wanted.keys()
        for tensor in model_of(TINY, stage).outputs:
            reference, value = wanted[tensor.name], got[tensor.name]
            assert value.dtype == reference.dtype == tensor.dtype.numpy
            assert value.shape == reference.shape
            assert value.shape[0] == batch
            tolerance = HALF_TOLERANCE if value.dtype == np.float16 else FLOAT32_TOLERANCE
            largest = max(1.0, float(np.abs(reference.astype(np.float32)).max()))
            np.testing.assert_allclose(
                value.astype(np.float32),
                reference.astype(np.float32),
                rtol=0,
                atol=tolerance * largest,
                err_msg=f"{tensor.name} at batch {batch} with {prompts} prompts",
            )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_later_call_changes_no_earlier_output_and_no_input(release, requests, engine):
    graph = engine(graph_of(release, "image_encoder"), threads=1)
    first, second = (feed("image_encoder", requests, 2, 1)["sam_pixels"][[i]] for i in (0, 1))
    sent = first.copy()
    earlier = graph.infer({"sam_pixels": first})["image_embeddings"]
    kept = earlier.copy()
    later = graph.infer({"sam_pixels": second})["image_embeddings"]
    np.testing.assert_array_equal(earlier, kept)
    np.testing.assert_array_equal(first, sent)
    assert not np.array_equal(later, kept)


def test_an_array_of_another_type_is_refused_rather_than_converted(release, requests):
    graph = OpenVinoGraph(graph_of(release, "image_encoder"), threads=1)
    pixels = requests["sam_pixels"][:1]
    with pytest.raises(ContractError, match="wanted sam_pixels as uint8, got float32"):
        graph.infer({"sam_pixels": pixels.astype(np.float32)})
    assert graph.infer({"sam_pixels": pixels})


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_has_the_threads_that_it_was_given(release, threads):
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("this machine has one core")
    graph = OpenVinoGraph(graph_of(release, "extractors"), threads=threads)
    assert graph.threads == threads


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
def test_a_damaged_graph_is_named_when_it_is_loaded(release, tmp_path, engine, damage):
    path = tmp_path / "image_encoder" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    whole = graph_of(release, "image_encoder").read_bytes()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"no graph")
    with pytest.raises(ReleaseError, match="export the release again") as caught:
        engine(path, threads=1)
    assert "image_encoder/model.onnx" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recorded", ["abcdef012345", None])
def test_a_graph_of_another_contract_is_refused(release, tmp_path, engine, recorded):
    path = tmp_path / "extractors" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    shutil.copyfile(graph_of(release, "extractors"), path)
    graph = onnx.load(str(path))
    for entry in list(graph.metadata_props):
        if entry.key == CONTRACT_PARAMETER:
            graph.metadata_props.remove(entry)
    if recorded:
        graph.metadata_props.add(key=CONTRACT_PARAMETER, value=recorded)
    onnx.save(graph, str(path))
    with pytest.raises(ReleaseError, match=f"got {recorded} in extractors"):
        engine(path, threads=1)


def test_openvino_is_loaded_without_its_telemetry():
    code = (
        "import sys; from organseg.serving.openvino_graph import import_openvino; "
        "import_openvino(); import openvino.tools.ovc.telemetry_utils as used; "
        "print(used.tm.__name__); "
        "print(*[n for n, m in sys.modules.items() if n.startswith('openvino_telemetry') and m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"]


class SessionOf:
    """A `GraphEngine` in the shape of the session that `accept` calls."""

    def __init__(self, engine: GraphEngine, stage: str) -> None:
        self._engine, self._model = engine, model_of(TINY, stage)

    def get_inputs(self):
        return self._model.inputs

    def run(self, _, given):
        found = self._engine.infer(given)
        return [found[tensor.name] for tensor in self._model.outputs]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The shipped weights and a release of them."""
    from export.progress import Progress
    from export.release import write_release
    from organseg.contract import Platform

    checkpoint = load_checkpoint(SHIPPED / TINY.name, TINY)
    merge_adapter(checkpoint.organ_seg.vision_language)
    out = tmp_path_factory.mktemp("trained") / "release"
    write_release(
        checkpoint, TINY, Platform.PYTHON, out, replace=False, progress=Progress(quiet=True)
    )
    return checkpoint, out


@wants_bfloat16
@pytest.mark.slow
def test_with_the_encoder_in_bfloat16_nobody_can_tell_the_answers_apart(trained):
    checkpoint, release = trained
    sessions = {
        stage: SessionOf(
            OpenVinoGraph(graph_of(release, stage), threads=1, bfloat16=stage == "image_encoder"),
            stage,
        )
        for stage in STAGES
    }
    found = accept(checkpoint.organ_seg, sessions, checkpoint.cache.thresholds)
    assert found.other_verdicts == 0
    assert found.least_dice >= LEAST_DICE
    assert found.holds
    # It was really rounded: in float32 the embeddings are those of ONNX Runtime.
    (sam_pixels,) = inputs_of(model_of(TINY, "image_encoder"), flow_inputs(checkpoint.organ_seg, 1))
    pixels = {"sam_pixels": sam_pixels.numpy()}
    path = graph_of(release, "image_encoder")
    exact = load_with(CpuEngine.ONNXRUNTIME, path, threads=1).infer(pixels)["image_embeddings"]
    rounded = OpenVinoGraph(path, threads=1, bfloat16=True).infer(pixels)["image_embeddings"]
    assert np.abs(exact.astype(np.float32) - rounded.astype(np.float32)).max() > 1e-3
