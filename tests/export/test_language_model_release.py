"""A release says what its language model is served in, stores it so, and is accepted with it."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from constructed import PICTURES, constructed_checkpoint
from export.__main__ import main
from export.acceptance import accept
from export.language_model import served_as, stored_type
from export.language_model_options import add_options, chosen_language_model
from export.language_model_report import measure, render
from export.parity import cpu_sessions
from export.precision import Precision
from export.progress import Progress
from export.release import write_release
from organseg.contract import (
    TINY,
    LanguageModel,
    LanguageModelWeights,
    Placement,
    Platform,
    language_model_in,
)
from organseg.contract.pbtxt import parse_config
from organseg.errors import ReleaseError
from organseg.networks.lora import merge_adapter
from organseg.networks.stages import graph_modules
from organseg.serving.manifest import describe_release, verify_release

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "results" / "language_model"
LLAVA_MED = Path("models") / "llava_med"


def config_parameters(release: Path) -> dict[str, str]:
    text = (release / LLAVA_MED / "config.pbtxt").read_text()
    return {key: value.string_value for key, value in parse_config(text).parameters.items()}


def stored_types(release: Path) -> set[torch.dtype]:
    weights = load_file(release / LLAVA_MED / "1" / "vision_language" / "model.safetensors")
    return {weight.dtype for weight in weights.values() if weight.is_floating_point()}


def choose(platform: Platform, *arguments: str) -> LanguageModel | None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return chosen_language_model(parser.parse_args(arguments), platform)


def test_a_release_without_a_choice_is_float32_on_a_cpu_and_stored_so(release):
    manifest = verify_release(release)
    assert (manifest.language_model, manifest.placement) == ("fp32", "one")
    assert language_model_in(config_parameters(release)) == LanguageModel(LanguageModelWeights.FP32)
    assert stored_types(release) == {torch.float32}


def test_a_release_in_int8_is_stored_in_sixteen_bits_and_says_so(tmp_path):
    pytest.importorskip("bitsandbytes")
    out = tmp_path / "release"
    write_release(
        copy.deepcopy(constructed_checkpoint()),
        TINY,
        Platform.ONNXRUNTIME,
        out,
        replace=False,
        progress=Progress(quiet=True),
        language_model=LanguageModel(LanguageModelWeights.INT8, Placement.SPREAD),
    )
    manifest = verify_release(out)
    assert (manifest.language_model, manifest.placement) == ("int8", "spread")
    assert "language model in int8" in describe_release(manifest)
    # Untrained weights are not asked: of their masks nothing can be said.
    assert manifest.acceptance == {}
    assert language_model_in(config_parameters(out)) == LanguageModel(
        LanguageModelWeights.INT8, Placement.SPREAD
    )
    assert stored_types(out) == {torch.float16}


def test_nothing_chosen_is_no_choice():
    assert choose(Platform.PYTHON) is None
    assert choose(Platform.TENSORRT) is None
    assert stored_type(None) is None


def test_a_choice_is_taken_as_it_is_given():
    int4 = choose(Platform.TENSORRT, "--language-model", "int4", "--placement", "spread")
    assert int4 == LanguageModel(LanguageModelWeights.INT4, Placement.SPREAD)
    assert stored_type(int4) is torch.float16
    spread = choose(Platform.ONNXRUNTIME, "--placement", "spread")
    assert spread == LanguageModel(LanguageModelWeights.BF16, Placement.SPREAD)


def test_a_platform_without_gpus_is_refused_a_spread_model():
    with pytest.raises(ReleaseError, match="leave it out"):
        choose(Platform.PYTHON, "--placement", "spread")


@pytest.fixture(scope="module")
def merged():
    checkpoint = copy.deepcopy(constructed_checkpoint())
    merge_adapter(checkpoint.organ_seg.vision_language)
    return checkpoint


def test_what_is_asked_is_the_language_model_that_is_served(release, merged, tmp_path):
    (tmp_path / "slice.png").write_bytes(PICTURES[0])
    stages = graph_modules(merged.organ_seg)
    sessions = cpu_sessions(
        {name: (release / "models" / name / "1" / "model.onnx", Precision.FP32) for name in stages}
    )

    def ask(served):
        return accept(
            merged.organ_seg,
            sessions,
            merged.cache.thresholds,
            served=served,
            samples=tmp_path,
        )

    near = served_as(merged.organ_seg.vision_language, LanguageModelWeights.FP32)
    assert ask(near) == ask(None)
    with torch.no_grad():
        for block in near.language_model.layers:
            block.mlp.down_proj.weight.neg_()
    assert ask(near).other_verdicts > 0


def test_the_copy_that_is_asked_leaves_the_original_as_it_is(merged):
    pytest.importorskip("bitsandbytes")
    original = merged.organ_seg.vision_language
    before = {name: weight.clone() for name, weight in original.state_dict().items()}
    served = served_as(original, LanguageModelWeights.INT8)
    assert next(served.parameters()).dtype is torch.float16
    assert served.mean.dtype is torch.float32
    for name, weight in original.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_random_weights_are_not_reported_on(merged):
    with pytest.raises(ReleaseError, match="give --checkpoint"):
        measure(merged, Progress(quiet=True))


def test_the_report_on_weights_is_rendered_from_its_record():
    record = json.loads((RECORDS / "tiny.json").read_text())
    page = (RECORDS / "tiny.md").read_text()
    assert page == render(record)
    alone = {row["weights"]: row for row in record["rows"] if row["graphs"] == "fp32"}
    assert list(alone) == [weights.value for weights in LanguageModelWeights]
    for row in record["rows"]:
        verdict = "yes" if row["holds"] else "no"
        (line,) = (
            line
            for line in page.splitlines()
            if line.startswith(f"| {row['weights']} |") and f"MB | {row['graphs']} |" in line
        )
        assert line.endswith(f"| {verdict} |")


@pytest.mark.slow
def test_the_shipped_weights_are_released_in_int8_and_refused_in_int4(tmp_path, capsys):
    pytest.importorskip("bitsandbytes")
    refused, released = tmp_path / "int4", tmp_path / "int8"
    assert main(["--language-model", "int4", "--out", str(refused)]) == 1
    assert "--language-model, or give --accept-below-bar" in capsys.readouterr().err
    assert not refused.exists()
    assert main(["--language-model", "int8", "--out", str(released)]) == 0
    manifest = verify_release(released)
    assert (manifest.language_model, manifest.below_bar) == ("int8", False)
    assert manifest.acceptance["other_verdicts"] == 0
