"""How the language model is kept and placed: chosen, written into a config, read back."""

from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from organseg.contract import (
    EXPLAIN_NAME,
    FEATURES_NAME,
    LLAVA_MED_7B,
    TINY,
    LanguageModel,
    LanguageModelWeights,
    Placement,
    Platform,
    deployment_of,
    language_model_in,
    model_of,
    models_of,
)
from organseg.contract.pbtxt import model_config, parse_config, render_configs
from organseg.errors import ContractError

EVERY_CHOICE = [
    LanguageModel(weights, placement) for weights in LanguageModelWeights for placement in Placement
]
INT8_SPREAD = LanguageModel(LanguageModelWeights.INT8, Placement.SPREAD)


def parameters_of(text: str) -> dict[str, str]:
    return {key: value.string_value for key, value in parse_config(text).parameters.items()}


@pytest.mark.parametrize("choice", EVERY_CHOICE, ids=str)
def test_a_config_gives_back_the_choice_that_it_was_rendered_with(choice):
    texts = render_configs(LLAVA_MED_7B, Platform.TENSORRT, choice)
    assert language_model_in(parameters_of(texts["llava_med"])) == choice


def test_both_models_that_have_the_language_model_say_how_it_is_kept_and_no_other_does():
    for name, text in render_configs(LLAVA_MED_7B, Platform.TENSORRT, INT8_SPREAD).items():
        if name in ("llava_med", EXPLAIN_NAME):
            assert language_model_in(parameters_of(text)) == INT8_SPREAD
        else:
            assert language_model_in(parameters_of(text)) is None
            if name != FEATURES_NAME:  # It keeps less beside a quantised model.
                assert text == render_configs(LLAVA_MED_7B, Platform.TENSORRT)[name]


@pytest.mark.parametrize(
    ("platform", "weights"),
    [
        (Platform.PYTHON, LanguageModelWeights.FP32),
        (Platform.ONNXRUNTIME, LanguageModelWeights.BF16),
        (Platform.TENSORRT, LanguageModelWeights.BF16),
    ],
)
def test_without_a_choice_it_is_float32_on_a_cpu_and_bfloat16_on_one_gpu(platform, weights):
    row = deployment_of(TINY, platform, model_of(TINY, "llava_med"))
    assert row.language_model == LanguageModel(weights, Placement.ONE)
    assert not row.spreads


def test_only_the_language_models_stage_has_one():
    for model in models_of(TINY):
        row = deployment_of(TINY, Platform.TENSORRT, model, INT8_SPREAD)
        assert (row.language_model is not None) == (model.name == "llava_med")


def test_a_spread_model_is_one_instance_that_chooses_its_own_gpus():
    message = model_config(
        model_of(LLAVA_MED_7B, "llava_med"), LLAVA_MED_7B, Platform.TENSORRT, INT8_SPREAD
    )
    (group,) = message.instance_group
    assert (group.kind, group.count) == (pb.ModelInstanceGroup.KIND_MODEL, 1)
    assert list(group.gpus) == []


def test_a_model_on_one_gpu_is_placed_there_by_triton():
    choice = LanguageModel(LanguageModelWeights.INT4)
    message = model_config(
        model_of(LLAVA_MED_7B, "llava_med"), LLAVA_MED_7B, Platform.TENSORRT, choice
    )
    assert message.instance_group[0].kind == pb.ModelInstanceGroup.KIND_GPU


def test_a_platform_without_gpus_cannot_spread_it():
    with pytest.raises(ContractError, match="choose another platform"):
        render_configs(TINY, Platform.PYTHON, INT8_SPREAD)


def test_a_config_of_an_older_release_says_nothing():
    assert language_model_in({"threads": "1"}) is None


@pytest.mark.parametrize(
    "parameters", [{"weights": "int2"}, {"weights": "int8", "placement": "nowhere"}]
)
def test_what_this_version_does_not_know_is_refused(parameters):
    with pytest.raises(ContractError, match="export the release again"):
        language_model_in(parameters)
