"""What computes an image and the fixed text on a CPU: OpenVINO gives what torch gives."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from network_fixtures import grey_levels, untrained

from organseg.contract import (
    TINY,
    CpuEngine,
    LanguageModel,
    LanguageModelWeights,
    Platform,
    deployment_of,
    model_of,
)
from organseg.errors import EngineError
from organseg.networks.known_images import ImagePrefix, answer_states, know_images
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.prefix_engine import OpenVinoPrefix, load_prefix_engine
from organseg.serving.stage import StageContext

SIZE = TINY.vision_language
ROUNDING = 1e-4
"""float32 sums in another order: states are of the size of one."""
TABLE = (CpuEngine.OPENVINO, CpuEngine.TORCH)


@pytest.fixture(scope="module")
def vision_language() -> VisionLanguage:
    return untrained().vision_language.eval()


@pytest.fixture(scope="module")
def engine(vision_language) -> OpenVinoPrefix:
    return OpenVinoPrefix(vision_language, threads=1)


def context(*engines: CpuEngine, weights=LanguageModelWeights.FP32) -> StageContext:
    return StageContext(
        TINY, Path(), threads=1, engines=engines, language_model=LanguageModel(weights)
    )


@torch.inference_mode()
def test_states_keys_and_values_are_those_of_torch_for_one_picture_and_for_several(
    vision_language, engine
):
    pixels = grey_levels(3, SIZE.image_size)
    wanted = ImagePrefix(vision_language)(pixels)
    for picked in (slice(0, 3), slice(1, 2)):
        got = engine(pixels[picked])
        assert len(got) == len(wanted) == 1 + 2 * SIZE.depth
        for mine, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine, other[picked], atol=ROUNDING, rtol=0)


@torch.inference_mode()
def test_a_question_on_top_gives_the_state_of_one_prefill(vision_language, engine):
    pixels, questions = grey_levels(2, SIZE.image_size), ["aorta", "Which organ stores bile?"]
    known = know_images(vision_language, pixels, engine)
    got = answer_states(vision_language, known, questions, torch.device("cpu"))
    wanted = vision_language(pixels, questions)
    torch.testing.assert_close(got, wanted.answer_state, atol=ROUNDING, rtol=0)


def test_threads_that_ask_at_once_get_their_own_answers(engine):
    pixels = [grey_levels(1, SIZE.image_size) // (1 + row) for row in range(4)]
    alone = [engine(each)[0] for each in pixels]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda each: engine(each)[0], pixels))
    for mine, other in zip(together, alone, strict=True):
        assert torch.equal(mine, other)


def test_the_table_has_it_for_float32_on_a_cpu_alone():
    model = model_of(TINY, "llava_med")
    assert deployment_of(TINY, Platform.PYTHON, model).engines == TABLE
    int8 = LanguageModel(LanguageModelWeights.INT8)
    assert deployment_of(TINY, Platform.PYTHON, model, int8).engines == ()
    assert deployment_of(TINY, Platform.TENSORRT, model).engines == ()


def test_other_weights_and_other_engines_stay_with_torch(vision_language):
    assert isinstance(load_prefix_engine(context(*TABLE), vision_language), OpenVinoPrefix)
    for other in (
        context(CpuEngine.TORCH),
        context(CpuEngine.ONNXRUNTIME),
        context(*TABLE, weights=LanguageModelWeights.BF16),
    ):
        assert load_prefix_engine(other, vision_language) is None


def test_without_openvino_torch_is_taken_if_it_may_be_and_the_log_says_why(
    vision_language, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING):
        assert load_prefix_engine(context(*TABLE), vision_language) is None
    (line,) = caplog.messages
    assert line.startswith("llava_med runs by torch: wanted the engine openvino")
    with pytest.raises(EngineError, match="not installed"):
        load_prefix_engine(context(CpuEngine.OPENVINO), vision_language)
