"""What computes images and questions on a CPU: OpenVINO gives what torch gives."""

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
from organseg.networks.known_images import (
    ImagePrefix,
    QuestionTail,
    answer_states,
    know_images,
)
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.language_engines import (
    LanguageEngines,
    OpenVinoPrefix,
    OpenVinoTail,
    load_language_engines,
)
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


@pytest.fixture(scope="module")
def tail_engine(vision_language) -> OpenVinoTail:
    return OpenVinoTail(vision_language, threads=1)


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
def test_a_question_on_top_gives_the_state_of_one_prefill(vision_language, engine, tail_engine):
    pixels, questions = grey_levels(2, SIZE.image_size), ["aorta", "Which organ stores bile?"]
    known = know_images(vision_language, pixels, engine)
    wanted = vision_language(pixels, questions)
    for run in (None, tail_engine):
        got = answer_states(vision_language, known, questions, torch.device("cpu"), run)
        torch.testing.assert_close(got, wanted.answer_state, atol=ROUNDING, rtol=0)


@torch.inference_mode()
def test_a_tail_of_any_length_has_the_states_of_torch_and_leaves_what_is_known(
    vision_language, tail_engine
):
    _, *blocks = ImagePrefix(vision_language)(grey_levels(2, SIZE.image_size))
    kept = [block.clone() for block in blocks]
    # Shorter, as long as and longer than what was traced, and back.
    generator = torch.Generator().manual_seed(0)
    for length in (16, 8, 3, 64, 1, 16):
        token_ids = torch.randint(5, SIZE.vocabulary, (2, length), generator=generator)
        wanted = QuestionTail(vision_language)(token_ids, *blocks)
        got = tail_engine(token_ids, *blocks)
        torch.testing.assert_close(got, wanted, atol=ROUNDING, rtol=0)
    assert all(map(torch.equal, blocks, kept))


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
    loaded = load_language_engines(context(*TABLE), vision_language)
    assert isinstance(loaded.prefix, OpenVinoPrefix)
    assert isinstance(loaded.tail, OpenVinoTail)
    for other in (
        context(CpuEngine.TORCH),
        context(CpuEngine.ONNXRUNTIME),
        context(*TABLE, weights=LanguageModelWeights.BF16),
    ):
        assert load_language_engines(other, vision_language) == LanguageEngines()


def test_without_openvino_torch_is_taken_if_it_may_be_and_the_log_says_why(
    vision_language, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING):
        assert load_language_engines(context(*TABLE), vision_language) == LanguageEngines()
    (line,) = caplog.messages
    assert line.startswith("llava_med runs by torch: wanted the engine openvino")
    with pytest.raises(EngineError, match="not installed"):
        load_language_engines(context(CpuEngine.OPENVINO), vision_language)
