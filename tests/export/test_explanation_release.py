"""What a release keeps for explanations: the base weights under the adapter, or nothing."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from constructed import constructed_checkpoint
from export.__main__ import SHIPPED
from export.language_model import put_base_weights, stored_type
from export.language_model_options import add_options
from export.release import _write_configs
from organseg.contract import (
    EXPLAIN_NAME,
    TINY,
    Explanations,
    ImageFeatures,
    LanguageModel,
    LanguageModelWeights,
    Platform,
    ensembles_of,
    models_of,
    served_models,
)
from organseg.contract.pbtxt import render_configs
from organseg.errors import CheckpointError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_card, load_vision_language
from organseg.networks.lora import base_weights, merge_adapter, put_back_base_weights
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.manifest import verify_release
from organseg.serving.stages.llava_med_explain import BASE_WEIGHTS_FILE, TALKS


def adapted() -> VisionLanguage:
    """A language model whose adapter changes something and was not merged."""
    return copy.deepcopy(constructed_checkpoint()).organ_seg.vision_language


def test_a_release_explains_and_keeps_images_unless_it_is_told_otherwise(release: Path):
    assert verify_release(release).explanations == Explanations.INCLUDE.value
    assert verify_release(release).image_features == ImageFeatures.REUSE.value
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert parser.parse_args([]).explanations == "include"
    assert parser.parse_args(["--explanations", "leave-out"]).explanations == "leave-out"


def test_the_help_says_what_memory_explanations_cost(capsys):
    parser = argparse.ArgumentParser()
    add_options(parser)
    said = " ".join(parser.format_help().split())
    assert "tiny 49 MiB on a CPU" in said
    assert "14,432 MiB on a GPU" in said


def test_only_what_the_merge_changes_is_kept_twice(release: Path):
    kept = load_file(release / "models" / EXPLAIN_NAME / "1" / BASE_WEIGHTS_FILE)
    assert len(kept) == 2 * TINY.vision_language.depth
    assert all(name.rsplit(".", 2)[1] in ("q_proj", "v_proj") for name in kept)
    plain = base_weights(constructed_checkpoint().organ_seg.vision_language.llava)
    assert kept.keys() == plain.keys()
    for name, weight in kept.items():
        assert torch.equal(weight, plain[name])


def test_the_merged_model_and_the_kept_weights_are_the_base_again(release: Path):
    models = release / "models"
    served = load_vision_language(
        models / "llava_med" / "1" / "vision_language", TINY.vision_language
    )
    unmerged = adapted().llava.get_base_model().state_dict()
    wanted = {
        name.replace(".base_layer.", "."): weight
        for name, weight in unmerged.items()
        if ".lora_" not in name
    }
    merged = {name: weight.clone() for name, weight in served.llava.state_dict().items()}
    put_back_base_weights(served.llava, models / EXPLAIN_NAME / "1" / BASE_WEIGHTS_FILE)
    got = served.llava.state_dict()
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    assert any(not torch.equal(merged[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("weights", "stored"),
    [
        (LanguageModelWeights.BF16, torch.bfloat16),
        (LanguageModelWeights.INT8, torch.float16),
    ],
)
def test_the_kept_weights_have_the_type_of_all_others(tmp_path, weights, stored):
    put_base_weights(adapted(), tmp_path, stored_type(LanguageModel(weights)))
    kept = load_file(tmp_path / BASE_WEIGHTS_FILE)
    assert {weight.dtype for weight in kept.values()} == {stored}


@pytest.mark.parametrize("talks", [True, False])
def test_the_kept_weights_say_whether_they_write_sentences(tmp_path, talks):
    put_base_weights(adapted(), tmp_path, None, talks=talks)
    with safe_open(tmp_path / BASE_WEIGHTS_FILE, framework="numpy") as weights:
        assert json.loads(weights.metadata()[TALKS]) is talks


def test_the_shipped_weights_were_not_taught_to_talk():
    assert not load_card(SHIPPED / TINY.name).talks


def test_a_model_without_an_adapter_is_its_own_base(tmp_path):
    vision_language = build_checkpoint(TINY).organ_seg.vision_language
    before = {name: weight.clone() for name, weight in vision_language.llava.state_dict().items()}
    put_base_weights(vision_language, tmp_path, None)
    assert load_file(tmp_path / BASE_WEIGHTS_FILE) == {}
    put_back_base_weights(vision_language.llava, tmp_path / BASE_WEIGHTS_FILE)
    after = vision_language.llava.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_kept_weights_of_another_model_are_refused(tmp_path):
    vision_language = adapted()
    merge_adapter(vision_language)
    strange, narrow = tmp_path / "strange.safetensors", tmp_path / "narrow.safetensors"
    save_file({"model.some.weight": torch.zeros(2)}, str(strange))
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    save_file({name: torch.zeros(2, 2)}, str(narrow))
    for path in (strange, narrow, tmp_path / "missing.safetensors"):
        with pytest.raises(CheckpointError, match=path.name):
            put_back_base_weights(vision_language.llava, path)


@pytest.mark.parametrize("platform", Platform)
def test_a_release_without_explanations_has_the_flow_alone(tmp_path, platform):
    configs = render_configs(TINY, platform, explanations=Explanations.LEAVE_OUT)
    _write_configs(tmp_path, TINY, platform, configs)
    names = {model.name for model in models_of(TINY)}
    names |= {ensemble.name for ensemble in ensembles_of(TINY)}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("platform", Platform)
def test_a_release_that_keeps_no_images_has_neither_the_step_nor_sessions(tmp_path, platform):
    configs = render_configs(TINY, platform, image_features=ImageFeatures.DIRECT)
    _write_configs(tmp_path, TINY, platform, configs)
    names = {model.name for model in served_models(TINY, ImageFeatures.DIRECT)}
    assert {path.name for path in tmp_path.iterdir()} == names | {"organ_seg"}
    assert "image_features" not in names
