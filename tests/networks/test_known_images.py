"""An image that is known: the same states as of one prefill, whatever else is asked beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from network_fixtures import grey_levels, untrained

from organseg.contract import TINY, LanguageModelWeights
from organseg.errors import QuestionError
from organseg.networks.known_images import KnownImage, answer_states, know_images
from organseg.networks.placement import BLOCKS, place_on_one, spread
from organseg.networks.prompt import SHORTEST_BUCKET, bucket_length
from organseg.networks.quantisation import working_type
from organseg.networks.vision_language import VisionLanguage

SIZE = TINY.vision_language
CPU = torch.device("cpu")
QUESTIONS = [
    "aorta",
    "Which organ stores bile?",
    "Segment the spleen and the kidneys, please, and then the stomach and the liver as well.",
]
ROUNDING = 1e-4
"""float32 sums in another order: states are of the size of one."""


@pytest.fixture(scope="module")
def vision_language() -> VisionLanguage:
    return untrained().vision_language


@pytest.fixture(scope="module")
def known(vision_language) -> list[KnownImage]:
    return know_images(vision_language, grey_levels(3, SIZE.image_size))


@torch.inference_mode()
def test_states_are_those_of_image_and_question_in_one_prefill(vision_language, known):
    wanted = vision_language(grey_levels(3, SIZE.image_size), QUESTIONS)
    got = answer_states(vision_language, known, QUESTIONS, CPU)
    torch.testing.assert_close(got, wanted.answer_state, atol=ROUNDING, rtol=0)
    patches = torch.stack([image.patch_states for image in known])
    torch.testing.assert_close(patches, wanted.patch_states, atol=ROUNDING, rtol=0)


@torch.inference_mode()
def test_a_batch_may_ask_about_one_image_several_times_and_about_none(vision_language, known):
    rows = [known[1], known[0], known[1]]
    got = answer_states(vision_language, rows, [QUESTIONS[2], "", QUESTIONS[0]], CPU)
    pixels = grey_levels(3, SIZE.image_size)[1:2]
    for row, question in ((0, QUESTIONS[2]), (2, QUESTIONS[0])):
        wanted = vision_language(pixels, [question]).answer_state[0]
        torch.testing.assert_close(got[row], wanted, atol=ROUNDING, rtol=0)
    assert torch.equal(got[1], known[0].last_state)


def test_nothing_asked_computes_nothing(vision_language, known, monkeypatch):
    monkeypatch.setattr(VisionLanguage, "continued", None)
    got = answer_states(vision_language, known, ["", "", ""], CPU)
    assert torch.equal(got, torch.stack([image.last_state for image in known]))


def test_a_question_leaves_what_is_known_of_the_image_as_it_was(vision_language, known):
    before = copy.deepcopy(known[0])
    one = answer_states(vision_language, known[:1], QUESTIONS[1:2], CPU)
    answer_states(vision_language, known, QUESTIONS, CPU)
    for old, new in zip(before.layers, known[0].layers, strict=True):
        assert all(torch.equal(*pair) for pair in zip(old, new, strict=True))
    assert torch.equal(one, answer_states(vision_language, known[:1], QUESTIONS[1:2], CPU))


def test_an_image_knows_its_size_and_keeps_no_other_images_memory(vision_language, known):
    prefix = len(vision_language.prompts.prefix)
    grouped = SIZE.width * SIZE.key_value_heads // SIZE.heads
    numbers = 2 * SIZE.depth * prefix * grouped + (SIZE.patches + 1) * SIZE.width
    for image in known:
        assert image.nbytes == 4 * numbers
        held = [tensor for pair in image.layers for tensor in pair]
        held += [image.patch_states, image.last_state]
        assert sum(tensor.untyped_storage().nbytes() for tensor in held) == image.nbytes


def test_tails_have_few_lengths(vision_language):
    prompts = vision_language.prompts
    tails = prompts.build_tails(QUESTIONS)
    rows = [prompts.build([question]) for question in QUESTIONS]
    assert tails.token_ids.shape[1] == bucket_length(int(tails.lengths.max()), SIZE.max_tokens)
    for row, whole in enumerate(rows):
        length = int(tails.lengths[row])
        assert length == int(whole.lengths[0]) - len(prompts.prefix)
        assert torch.equal(tails.token_ids[row, :length], whole.token_ids[0, -length:])
    lengths = {bucket_length(longest, 1000) for longest in range(1, 1001)}
    assert sorted(lengths) == [8, 16, 32, 64, 128, 256, 512, 1000]
    assert min(lengths) == SHORTEST_BUCKET


def test_a_question_that_is_too_long_is_refused(vision_language, known):
    with pytest.raises(QuestionError, match="shorten it"):
        answer_states(vision_language, known[:1], ["spleen " * 3000], CPU)


@pytest.mark.parametrize(
    "weights", [LanguageModelWeights.BF16, LanguageModelWeights.INT8, LanguageModelWeights.INT4]
)
@torch.inference_mode()
def test_fewer_bits_and_a_map_of_devices_change_nothing_of_it(vision_language, weights):
    if weights.is_quantised:
        pytest.importorskip("bitsandbytes")
    one, several = (copy.deepcopy(vision_language).to(working_type(weights)) for _ in range(2))
    place_on_one(one, weights, "cpu")
    blocks = {f"{BLOCKS}.{index}": "cpu" for index in range(SIZE.depth)}
    parts = ("vision_tower", "multi_modal_projector")
    language = ("embed_tokens", "rotary_emb", "norm")
    names = (*parts, *(f"language_model.{part}" for part in language))
    spread(several, weights, {**dict.fromkeys(names, "cpu"), **blocks})
    pixels = grey_levels(2, SIZE.image_size)
    wanted = one(pixels, QUESTIONS[:2])
    for model in (one, several):
        images = know_images(model, pixels)
        got = answer_states(model, images, QUESTIONS[:2], CPU)
        assert got.dtype == wanted.answer_state.dtype
        patches = torch.stack([image.patch_states for image in images])
        for mine, other in ((got, wanted.answer_state), (patches, wanted.patch_states)):
            cosine = torch.nn.functional.cosine_similarity(mine.float(), other.float(), dim=-1)
            # 8 bits of mantissa at the least, and sums in another order.
            assert float(cosine.min()) > 0.999
