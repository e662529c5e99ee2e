"""The language model's stage that knows images again: the same states, fewer computations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from constructed import PICTURES
from organseg.contract import TINY, CpuEngine, names
from organseg.errors import QuestionError, SessionLostError
from organseg.imaging.preprocess import prepare
from organseg.networks.vision_language import VisionLanguage
from organseg.serving.stage import Arrays, StageContext, StageRequest
from organseg.serving.stages.llava_med import LlavaMedStage

QUESTIONS = ["Which organ stores bile?", "Show me the liver and the aorta.", "spleen"]
AN_IMAGE_BYTES = 2 << 20
"""A little more than one takes."""


def stage(release: Path, kept_bytes: int, *engines: CpuEngine) -> LlavaMedStage:
    folder = release / "models" / "llava_med" / "1"
    context = StageContext(TINY, folder, threads=1, kept_bytes=kept_bytes, engines=engines)
    return LlavaMedStage(context)


@pytest.fixture(scope="module")
def direct(release: Path) -> LlavaMedStage:
    return stage(release, 0)


@pytest.fixture
def reusing(release: Path) -> LlavaMedStage:
    return stage(release, 64 << 20)


def request(picture: int, question: str, *, with_pixels: bool = True) -> StageRequest:
    prepared = prepare(PICTURES[picture], b"spleen", None, TINY)
    inputs = {
        names.IMAGE_KEY: prepared.image_key[np.newaxis],
        names.QUESTION: np.array([[question.encode()]], dtype=np.object_),
    }
    if with_pixels:
        inputs[names.VLM_PIXELS] = prepared.vlm_pixels[np.newaxis]
    return StageRequest(inputs)


def answers(one: LlavaMedStage, requests: Sequence[StageRequest]) -> list[Arrays]:
    found = one.run(requests)
    for answer in found:
        assert not isinstance(answer, Exception), answer
    return found  # type: ignore[return-value]


def assert_same(one: Arrays, two: Arrays) -> None:
    for name in (names.ANSWER_STATE, names.PATCH_STATES):
        # float32 sums in another order, then rounded to 11 bits of mantissa.
        np.testing.assert_allclose(one[name], two[name], atol=4e-3, rtol=2e-3)


def test_known_and_unknown_images_of_one_batch_give_the_states_of_one_prefill_each(direct, reusing):
    answers(reusing, [request(0, QUESTIONS[0])])
    cases = [(0, QUESTIONS[1]), (1, QUESTIONS[0]), (1, QUESTIONS[2]), (2, QUESTIONS[1])]
    got = answers(reusing, [request(*case) for case in cases])
    for case, mine in zip(cases, got, strict=True):
        assert_same(mine, answers(direct, [request(*case)])[0])
        assert mine[names.PREFIX_KEPT].tolist() == [[True]]
    counts = reusing.kept()
    assert (counts.hits, counts.misses) == (2, 3)


def test_a_follow_up_needs_no_pixels_and_looks_at_no_image(reusing, monkeypatch):
    whole = answers(reusing, [request(0, QUESTIONS[0])])[0]
    monkeypatch.setattr(VisionLanguage, "_normalise", None)
    again = answers(reusing, [request(0, QUESTIONS[0], with_pixels=False)])[0]
    np.testing.assert_array_equal(whole[names.PATCH_STATES], again[names.PATCH_STATES])
    np.testing.assert_array_equal(whole[names.ANSWER_STATE], again[names.ANSWER_STATE])


def test_by_openvino_neither_image_nor_question_is_torchs(release, direct, monkeypatch):
    compiled = stage(release, 64 << 20, CpuEngine.OPENVINO, CpuEngine.TORCH)
    wanted = answers(direct, [request(0, QUESTIONS[1])])[0]
    monkeypatch.setattr(VisionLanguage, "continued", None)
    assert_same(answers(compiled, [request(0, QUESTIONS[1])])[0], wanted)


def test_an_empty_question_makes_the_image_known(direct, reusing):
    opened = answers(reusing, [request(0, "")])[0]
    assert opened[names.PREFIX_KEPT].item()
    asked = answers(reusing, [request(0, QUESTIONS[1], with_pixels=False)])[0]
    assert_same(asked, answers(direct, [request(0, QUESTIONS[1])])[0])


def test_a_stranger_and_an_endless_question_fail_alone(reusing):
    requests = [
        request(0, QUESTIONS[0]),
        request(1, QUESTIONS[0], with_pixels=False),
        request(2, "spleen " * 3000),
        request(0, QUESTIONS[1]),
    ]
    found = reusing.run(requests)
    assert isinstance(found[1], SessionLostError)
    assert isinstance(found[2], QuestionError)
    assert all(isinstance(found[place], dict) for place in (0, 3))


def test_a_bound_of_one_image_forgets_the_one_before(release):
    small = stage(release, AN_IMAGE_BYTES)
    answers(small, [request(0, QUESTIONS[0])])
    answers(small, [request(1, QUESTIONS[0])])
    assert small.kept().evictions == 1
    (lost,) = small.run([request(0, QUESTIONS[0], with_pixels=False)])
    assert isinstance(lost, SessionLostError)


def test_what_a_warm_up_comes_with_is_not_kept(reusing):
    warm_up = request(0, QUESTIONS[0])
    warm_up.inputs[names.IMAGE_KEY] = np.zeros((1, 32), dtype=np.uint8)
    assert not answers(reusing, [warm_up])[0][names.PREFIX_KEPT].item()
    assert (reusing.kept().misses, reusing.kept().kept_bytes) == (0, 0)


def test_without_room_nothing_is_kept_and_the_answers_are_the_same(release, direct):
    tight = stage(release, 1000)
    for _ in range(2):
        (got,) = answers(tight, [request(0, QUESTIONS[0])])
        assert not got[names.PREFIX_KEPT].item()
        assert_same(got, answers(direct, [request(0, QUESTIONS[0])])[0])
    assert tight.kept().misses == 2
    assert direct.kept() is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_on_a_gpu_what_is_kept_stays_there(release):
    folder = release / "models" / "llava_med" / "1"
    context = StageContext(TINY, folder, threads=1, device="cuda:0", kept_bytes=64 << 20)
    one = LlavaMedStage(context)
    answers(one, [request(0, QUESTIONS[0])])
    before = torch.cuda.memory_allocated()
    answers(one, [request(0, QUESTIONS[1], with_pixels=False)])
    assert one.kept().kept_bytes > 0
    assert torch.cuda.memory_allocated() <= before
