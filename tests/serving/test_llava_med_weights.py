"""The language model's stage on a CPU, in every type of weights and behind the real server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from constructed import PICTURES, QUESTIONS, expected_organs
from organseg.contract import (
    CONTRACT_PARAMETER,
    CONTRACT_VERSION,
    TINY,
    LanguageModel,
    LanguageModelWeights,
    Placement,
    Platform,
    names,
)
from organseg.contract.pbtxt import render_configs
from organseg.errors import EngineError
from organseg.imaging.preprocess import prepare
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages.llava_med import LlavaMedStage
from organseg.serving.triton_model import read_context
from organseg_client import OrganSegClient

LEAST_COSINE = {
    LanguageModelWeights.FP32: 0.999999,
    LanguageModelWeights.FP16: 0.9999,
    LanguageModelWeights.BF16: 0.99,
    LanguageModelWeights.INT8: 0.99,
    LanguageModelWeights.INT4: 0.8,
}


def request(picture: bytes, question: str) -> StageRequest:
    prepared = prepare(picture, question.encode(), None, TINY)
    return StageRequest(
        {
            names.IMAGE_KEY: prepared.image_key[np.newaxis],
            names.VLM_PIXELS: prepared.vlm_pixels[np.newaxis],
            names.QUESTION: np.array([[prepared.question.encode()]], dtype=np.object_),
        }
    )


def stage(release: Path, language_model: LanguageModel | None) -> LlavaMedStage:
    folder = release / "models" / "llava_med" / "1"
    return LlavaMedStage(StageContext(TINY, folder, threads=1, language_model=language_model))


def asked(one: LlavaMedStage) -> Arrays:
    (answer,) = one.run([request(PICTURES[0], "Which organ stores bile?")])
    assert not isinstance(answer, Exception), answer
    return answer


@pytest.fixture(scope="module")
def by_default(release: Path) -> Arrays:
    return asked(stage(release, None))


@pytest.mark.parametrize("weights", LanguageModelWeights)
def test_every_type_of_weights_gives_states_near_the_defaults(release, by_default, weights):
    if weights.is_quantised:
        pytest.importorskip("bitsandbytes")
    got = asked(stage(release, LanguageModel(weights)))
    for name in (names.ANSWER_STATE, names.PATCH_STATES):
        one, two = (side[name].astype(np.float32).ravel() for side in (by_default, got))
        assert got[name].dtype == by_default[name].dtype == np.float16
        cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
        assert cosine > LEAST_COSINE[weights]
        if weights is LanguageModelWeights.FP32:
            np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_spread_model_without_gpus_is_refused_with_the_remedy(release):
    choice = LanguageModel(LanguageModelWeights.FP16, Placement.SPREAD)
    with pytest.raises(EngineError, match="sees none: give it some"):
        stage(release, choice)


def triton_arguments(kind: str, **parameters: str) -> dict[str, str]:
    values = {key: {"string_value": value} for key, value in parameters.items()}
    return {
        "model_name": "llava_med",
        "model_config": json.dumps({"parameters": values}),
        "model_instance_kind": kind,
        "model_instance_device_id": "1",
        "model_repository": "models/llava_med",
        "model_version": "1",
    }


def test_the_server_reads_weights_and_placement_from_the_config():
    common = {CONTRACT_PARAMETER: CONTRACT_VERSION, "preset": "tiny", "threads": "1"}
    spread = read_context(triton_arguments("MODEL", weights="int4", placement="spread", **common))
    assert spread.language_model == LanguageModel(LanguageModelWeights.INT4, Placement.SPREAD)
    assert spread.device == "cpu"
    one = read_context(triton_arguments("GPU", weights="fp16", placement="one", **common))
    assert one.language_model == LanguageModel(LanguageModelWeights.FP16)
    assert one.device == "cuda:1"
    assert read_context(triton_arguments("CPU", **common)).language_model is None


@pytest.mark.server
@pytest.mark.parametrize("weights", [LanguageModelWeights.FP16, LanguageModelWeights.INT8])
def test_the_real_server_answers_with_the_weights_that_the_config_names(release, tmp_path, weights):
    if weights.is_quantised:
        pytest.importorskip("bitsandbytes")
    from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions

    models = tmp_path / "models"
    shutil.copytree(release / "models", models)
    texts = render_configs(TINY, Platform.PYTHON, LanguageModel(weights))
    (models / "llava_med" / "config.pbtxt").write_text(texts["llava_med"])
    options = ServerOptions(grpc_port=0, http_port=0, metrics_port=0)
    with (
        EmbeddedServer(models, options, probe=EnsembleProbe()) as server,
        OrganSegClient(server.grpc_address, deadline_s=120) as client,
    ):
        for question in list(QUESTIONS)[:4]:
            result = client.segment(PICTURES[0], question)
            assert [organ.id for organ in result.organs] == expected_organs(question)
