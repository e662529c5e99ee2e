"""The torch reference: even untrained, nothing in it is constant."""

from __future__ import annotations

import copy

import numpy as np
import torch
from network_fixtures import grey_levels, untrained

from constructed import BLANK_PICTURE, PICTURES, QUESTIONS, constructed_checkpoint
from organseg.contract import LLAVA_MED_7B, MEDSAM, TINY, Verdict
from organseg.imaging.decoding import decode_image
from organseg.networks.build import build_organ_seg, stand_in_tokenizer
from organseg.networks.context_cache import default_context_cache
from organseg.networks.extractors import Extractors
from organseg.networks.gate import Thresholds
from organseg.networks.segmenter import Segmenter
from organseg.networks.vision_language import build_llava

THRESHOLDS = Thresholds()


def test_distinct_questions_and_pictures_give_distinct_answers():
    picture, other = (decode_image(content) for content in PICTURES[:2])
    model = untrained()
    one = model.answer(picture, "Which organ stores bile?", THRESHOLDS)
    asked_other = model.answer(picture, "Segment the spleen", THRESHOLDS)
    seen_other = model.answer(other, "Which organ stores bile?", THRESHOLDS)
    assert np.abs(one.similarity - asked_other.similarity).max() > 1e-3
    assert np.abs(one.similarity - seen_other.similarity).max() > 1e-3
    assert np.abs(one.presence - seen_other.presence).max() > 1e-4


def test_shuffling_the_caches_labels_shuffles_the_organs_of_the_answer():
    checkpoint = copy.deepcopy(constructed_checkpoint())
    image = decode_image(PICTURES[0])

    def organ(question: str) -> int:
        found = checkpoint.organ_seg.answer(image, question, checkpoint.cache.thresholds)
        return int(found.answer.organs[0])

    questions = [question for question, organs in QUESTIONS.items() if len(organs) == 1]
    before = [organ(question) for question in questions]
    permutation = np.roll(np.arange(13), 5)
    checkpoint.organ_seg.extractors.set_context_cache(checkpoint.cache.relabelled(permutation))
    after = [organ(question) for question in questions]
    assert after == [int(permutation[organ_id - 1]) + 1 for organ_id in before]
    assert after != before


def test_distinct_inputs_give_distinct_states_embeddings_and_boxes():
    model = untrained()
    pixels = grey_levels(2, TINY.vision_language.image_size)
    with torch.inference_mode():
        states = model.vision_language(pixels, ["Which organ stores bile?", "Segment the spleen"])
        found = model.extractors(*states)
        embeddings = model.segmenter.encode_image(grey_levels(2, TINY.segmenter.image_size))
    for pair in (states.answer_state, states.patch_states, found.boxes, embeddings):
        assert (pair[0] - pair[1]).abs().max() > 1e-4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    again, other = build_organ_seg(TINY, seed=0), build_organ_seg(TINY, seed=1)
    for name, weight in untrained().state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert any(
        not torch.equal(weight, other.state_dict()[name])
        for name, weight in untrained().state_dict().items()
    )


def test_a_blank_picture_is_answered_as_absent():
    checkpoint = constructed_checkpoint()
    answer = checkpoint.organ_seg.answer(
        decode_image(BLANK_PICTURE), "Which organ stores bile?", checkpoint.cache.thresholds
    ).answer
    assert answer.verdicts == (Verdict.ABSENT_IN_IMAGE,)
    assert answer.masks.shape == (1, 120, 140)
    assert not answer.masks.any()


def test_the_presets_have_their_published_parameter_counts():
    """SAM ViT-B: segment-anything's own build; Mistral 7B v0.2 has 7,241,732,096 weights at a
    vocabulary of 32,000; CLIP ViT-L/14 at 336 px has a vision tower of 303,507,456.
    """

    def count(module: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    with torch.device("meta"):
        assert count(Segmenter(MEDSAM.segmenter)) == 93_735_472
        size = LLAVA_MED_7B.vision_language
        llava = build_llava(size, image_token_id=32_000)
        assert count(llava.model.vision_tower) == 303_507_456
        rows_beyond_mistral = size.vocabulary - 32_000
        language = count(llava.model.language_model) + count(llava.lm_head)
        assert language == 7_241_732_096 + 2 * rows_beyond_mistral * size.width
        projector = 1024 * 4096 + 4096 + 4096 * 4096 + 4096
        assert count(llava.model.multi_modal_projector) == projector
        heads = Extractors(LLAVA_MED_7B.extractors, size, default_context_cache())
        assert 5e6 < count(heads) < 5e7


def test_the_stand_ins_vocabulary_fits_its_embedding_table():
    tokenizer, image_id, opening_id = stand_in_tokenizer()
    assert tokenizer.get_vocab_size() <= TINY.vision_language.vocabulary
    assert max(image_id, opening_id) < TINY.vision_language.vocabulary
