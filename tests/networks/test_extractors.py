"""The extractor heads and the context cache inside them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from network_fixtures import grey_levels, untrained

from organseg.contract import TINY
from organseg.networks.context_cache import default_context_cache
from organseg.networks.extractors import Extraction, Extractors
from organseg.networks.vision_language import VisionLanguageStates
from organseg.organs import ORGANS


@pytest.fixture(scope="module")
def states() -> VisionLanguageStates:
    pixels = grey_levels(3, TINY.vision_language.image_size)
    questions = ["Which organ stores bile?", "Segment the spleen", "What is the time?"]
    with torch.inference_mode():
        return untrained().vision_language(pixels, questions)


def read(extractors: Extractors, states: VisionLanguageStates) -> Extraction:
    with torch.inference_mode():
        return extractors(*states)


def test_similarity_is_the_cosine_with_organs_and_the_nearest_irrelevant(states):
    found = read(untrained().extractors, states)
    cache = default_context_cache()
    vectors = found.text_vector.numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        found.similarity[:, :13].numpy(), vectors @ cache.organ_prototypes.T, atol=1e-5
    )
    np.testing.assert_allclose(
        found.similarity[:, 13].numpy(),
        (vectors @ cache.irrelevant_prototypes.T).max(axis=1),
        atol=1e-5,
    )


def test_boxes_are_ordered_fractions_of_the_image(states):
    boxes = read(untrained().extractors, states).boxes
    assert boxes.shape == (3, 13, 4)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[..., :2] < boxes[..., 2:]).all()


def test_shuffling_the_caches_labels_shuffles_every_answer(states):
    extractors = copy.deepcopy(untrained().extractors)
    before = read(extractors, states)
    permutation = np.random.default_rng(0).permutation(len(ORGANS))
    extractors.set_context_cache(default_context_cache().relabelled(permutation))
    after = read(extractors, states)

    order = torch.as_tensor(permutation)
    torch.testing.assert_close(after.similarity[:, order], before.similarity[:, :13])
    torch.testing.assert_close(after.similarity[:, 13], before.similarity[:, 13])
    torch.testing.assert_close(after.boxes[:, order], before.boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        after.presence_logits[:, order], before.presence_logits, atol=1e-5, rtol=0
    )
    nearest = before.similarity[:, :13].argmax(dim=1)
    assert torch.equal(after.similarity[:, :13].argmax(dim=1), order[nearest])


def test_boxes_depend_on_the_picture_and_on_the_organ(states):
    boxes = read(untrained().extractors, states).boxes
    assert (boxes[0] - boxes[1]).abs().max() > 1e-4
    assert (boxes[0, 0] - boxes[0, 3]).abs().max() > 1e-5
