"""A follow-up question's answer state is that of the whole prompt, in every way it is computed."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import grey_levels, untrained

from benchmarks.gpu.device import CpuDevice, CudaDevice, Device
from benchmarks.gpu.follow_up import FollowUp
from benchmarks.gpu.models import random_vision_language
from organseg.contract import TINY
from organseg.errors import EngineError, QuestionError
from organseg.networks.vision_language import VisionLanguage

FIRST = ["Which organ stores bile?", "Segment the spleen and the left kidney.", "aorta"]
SECOND = ["And where is the liver, please, in this slice?", "bile?", "What is the capital?"]
SIDE = TINY.vision_language.image_size


@pytest.fixture(scope="module")
def language() -> VisionLanguage:
    return untrained().vision_language


@torch.no_grad()
def test_the_answer_state_is_that_of_the_whole_prefill(language):
    follow_up = FollowUp(language)
    for seed in (0, 1):
        # Another image is read into the same cache.
        pixels = grey_levels(len(FIRST), SIDE, seed=seed)
        patch_states = follow_up.read_image(pixels)
        for questions in (FIRST, SECOND, FIRST):
            whole = language(pixels, questions)
            answer_state = follow_up.ask(*follow_up.tokens_of(questions))
            assert (answer_state - whole.answer_state).abs().max() <= 1e-4
            assert (patch_states - whole.patch_states).abs().max() <= 1e-4
            # Far below what tells two questions apart.
            assert (whole.answer_state[0] - whole.answer_state[1]).abs().max() > 0.1


@torch.no_grad()
def test_an_image_batch_of_another_size_gets_a_cache_of_its_own(language):
    follow_up = FollowUp(language)
    for batch in (2, 1):
        pixels, questions = grey_levels(batch, SIDE, seed=batch), FIRST[:batch]
        follow_up.read_image(pixels)
        answer_state = follow_up.ask(*follow_up.tokens_of(questions))
        assert (answer_state - language(pixels, questions).answer_state).abs().max() <= 1e-4


@torch.no_grad()
def test_traced_in_one_piece_it_gives_the_same_for_every_question(language):
    follow_up = FollowUp(language)
    follow_up.read_image(grey_levels(1, SIDE))
    compiled = CpuDevice().compiled(follow_up.ask)
    for question in (FIRST[0], SECOND[0]):
        tokens = follow_up.tokens_of([question])
        torch.testing.assert_close(compiled(*tokens), follow_up.ask(*tokens))


def test_a_question_with_no_room_is_refused_with_the_remedy(language):
    follow_up = FollowUp(language, room=8)
    with pytest.raises(QuestionError, match=r"at most 8 tokens, got .*whole prompt"):
        follow_up.tokens_of(["Show me the liver, the spleen and both of the kidneys"])


def test_no_question_is_asked_before_an_image_is_read(language):
    follow_up = FollowUp(language)
    with pytest.raises(RuntimeError, match="image to be read"):
        follow_up.ask(*follow_up.tokens_of(["liver"]))


def test_a_model_made_in_half_precision_is_in_it_wherever_it_computes():
    language = random_vision_language(TINY.vision_language, "cpu", torch.bfloat16)
    assert {weight.dtype for weight in language.parameters()} == {torch.bfloat16}
    # Angles of positions and the pictures' normalisation are not.
    for buffer in (language.mean, language.language_model.rotary_emb.inv_freq):
        assert buffer.dtype is torch.float32
    assert torch.get_default_dtype() is torch.float32


def test_a_cpu_has_no_cuda_graph(cpu):
    with pytest.raises(EngineError, match="wanted a GPU for a CUDA graph"):
        cpu.captured(lambda: None)


@torch.no_grad()
@pytest.mark.gpu
@pytest.mark.parametrize("way", ["eager", "compiled", "captured"])
def test_on_a_gpu_every_way_gives_the_states_of_the_whole_prefill(cuda: CudaDevice, way: str):
    language = random_vision_language(TINY.vision_language, cuda.name, torch.float32)
    pixels = grey_levels(1, SIDE).to(cuda.name)
    follow_up = FollowUp(language)
    follow_up.read_image(pixels)
    given = tuple(tensor.clone() for tensor in follow_up.tokens_of([FIRST[0]]))
    ask = _way(cuda, way, follow_up, given)
    for question in (FIRST[0], SECOND[0], FIRST[0]):
        for held, tokens in zip(given, follow_up.tokens_of([question]), strict=True):
            held.copy_(tokens)
        answer_state = ask().clone()
        whole = language(pixels, [question]).answer_state
        # float32 products of a GPU in another order.
        assert (answer_state - whole).abs().max() <= 1e-3


def _way(device: Device, way: str, follow_up: FollowUp, given: tuple[torch.Tensor, torch.Tensor]):
    if way == "captured":
        return device.captured(lambda: follow_up.ask(*given))
    call = device.compiled(follow_up.ask) if way == "compiled" else follow_up.ask
    return lambda: call(*given)
