"""The extractor heads and the context cache inside them."""

from __future__ import annotations

import copy
import warnings

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


def claims_of(left: int, top: int, right: int, bottom: int, side: int = 64) -> torch.Tensor:
    """Logits float [1, 13, side, side] of a query that is certain of one rectangle of cells."""
    logits = torch.full((1, 13, side, side), -12.0)
    logits[..., top:bottom, left:right] = 12.0
    return logits


def test_the_box_of_a_claimed_rectangle_has_its_edges():
    extractor = untrained().extractors.segment_information
    logits = claims_of(8, 16, 24, 40)
    boxes = extractor._outline(logits, logits.amax(dim=(-2, -1)))
    expected = torch.tensor([8.0, 16.0, 24.0, 40.0]) / 64
    torch.testing.assert_close(boxes[0, 0], expected, atol=1e-3, rtol=0)


def test_the_likeliest_place_gives_a_box_even_where_nothing_is_certain():
    extractor = untrained().extractors.segment_information
    logits = claims_of(8, 16, 24, 40) * 0.5 - 9.0
    boxes = extractor._outline(logits, logits.amax(dim=(-2, -1)))
    expected = torch.tensor([8.0, 16.0, 24.0, 40.0]) / 64
    torch.testing.assert_close(boxes[0, 0], expected, atol=0.06, rtol=0)


def test_a_cells_claim_is_laid_out_by_row_and_column():
    extractor = untrained().extractors.segment_information
    memory = torch.zeros(1, TINY.vision_language.patches, TINY.extractors.width)
    with torch.inference_mode():
        plain = extractor._attend(torch.zeros(1, 13, TINY.extractors.width), memory)
        memory[0, 16 * 3 + 5] = 4.0 * torch.randn(TINY.extractors.width)
        changed = extractor._attend(torch.zeros(1, 13, TINY.extractors.width), memory) != plain
    rows, columns = changed.any(dim=1)[0].nonzero(as_tuple=True)
    cells = TINY.extractors.cells
    assert {int(row) // cells for row in rows} == {3}
    assert {int(column) // cells for column in columns} == {5}


def test_the_exported_outline_is_finite_however_certain_a_claim_is(tmp_path):
    import onnxruntime

    extractor = untrained().extractors.segment_information

    class Outline(torch.nn.Module):
        def forward(self, logits):
            return extractor._outline(logits, logits.amax(dim=(-2, -1)))

    logits = torch.cat([claims_of(8, 16, 24, 40) * scale for scale in (0.1, 2.0, 10.0)])
    path = tmp_path / "outline.onnx"
    with warnings.catch_warnings():
        # The exporter's own notices are not ours to mend.
        warnings.simplefilter("ignore")
        torch.onnx.export(Outline(), (logits,), str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    (boxes,) = session.run(None, {session.get_inputs()[0].name: logits.numpy()})
    expected = Outline()(logits).numpy()
    np.testing.assert_allclose(boxes, expected, atol=1e-5)
    assert np.isfinite(boxes).all()
