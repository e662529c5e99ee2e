"""The segmenter against segment-anything itself."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import boxes, grey_levels, untrained

from organseg.contract import MEDSAM, TINY
from organseg.networks.segment_anything_parts import _load
from organseg.networks.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return untrained().segmenter


@torch.inference_mode()
def stock_masks(
    segmenter: Segmenter, embedding: torch.Tensor, own_boxes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What segment-anything's unchanged modules give for one image and its boxes."""
    side = segmenter.size.image_size
    sparse, dense = segmenter.prompt_encoder(points=None, boxes=own_boxes * side, masks=None)
    masks, quality = segmenter.mask_decoder(
        image_embeddings=embedding.unsqueeze(0),
        image_pe=segmenter.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return masks[:, 0], quality[:, 0]


@pytest.mark.parametrize(("batch", "prompts"), [(1, 1), (3, 1), (2, 4), (1, 13)])
def test_images_times_boxes_equal_one_stock_call_per_image(segmenter, batch, prompts):
    with torch.inference_mode():
        embeddings = segmenter.encode_image(grey_levels(batch, TINY.segmenter.image_size))
        wanted_boxes = boxes(batch, prompts)
        masks, quality = segmenter.decode_masks(embeddings, wanted_boxes)
    for index in range(batch):
        stock, stock_quality = stock_masks(segmenter, embeddings[index], wanted_boxes[index])
        # Float32 sums in another order.
        torch.testing.assert_close(masks[index], stock, atol=1e-5, rtol=0)
        torch.testing.assert_close(quality[index], stock_quality, atol=1e-5, rtol=0)


def test_box_tokens_equal_the_prompt_encoders(segmenter):
    own = boxes(1, 5)[0]
    with torch.inference_mode():
        stock = segmenter.prompt_encoder._embed_boxes(own * segmenter.size.image_size)
        torch.testing.assert_close(segmenter.embed_boxes(own), stock, atol=1e-5, rtol=0)


def test_a_prompts_mask_does_not_depend_on_the_padding_behind_it(segmenter):
    with torch.inference_mode():
        embeddings = segmenter.encode_image(grey_levels(1, TINY.segmenter.image_size))
        few = boxes(1, 2)
        padded = torch.cat([few, torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2])], dim=1)
        masks, _ = segmenter.decode_masks(embeddings, few)
        masks_padded, _ = segmenter.decode_masks(embeddings, padded)
    torch.testing.assert_close(masks_padded[:, :2], masks, atol=1e-5, rtol=0)


def test_masks_change_with_the_box_and_with_the_image_and_with_nothing_else(segmenter):
    with torch.inference_mode():
        first, second = segmenter.encode_image(grey_levels(2, TINY.segmenter.image_size))
        one, other = boxes(1, 1, seed=1), boxes(1, 1, seed=2)

        def mask(embedding: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
            return segmenter.decode_masks(embedding.unsqueeze(0), box)[0]

        assert torch.equal(mask(first, one), mask(first, one))
        assert not torch.allclose(mask(first, one), mask(first, other), atol=1e-3)
        assert not torch.allclose(mask(first, one), mask(second, one), atol=1e-3)


def test_a_checkpoint_in_segment_anythings_layout_loads_as_it_is(tmp_path):
    sam_class = _load("modeling.sam").Sam
    source = Segmenter(TINY.segmenter)
    sam = sam_class(source.image_encoder, source.prompt_encoder, source.mask_decoder)
    torch.save(sam.state_dict(), tmp_path / "medsam_vit_b.pth")
    loaded = torch.load(tmp_path / "medsam_vit_b.pth", weights_only=True)

    target = Segmenter(TINY.segmenter)
    target.load_state_dict(loaded, strict=True)
    for name, weight in target.state_dict().items():
        assert torch.equal(weight, loaded[name]), name


def test_the_medsam_preset_is_sam_vit_b_key_by_key():
    with torch.device("meta"):
        ours = Segmenter(MEDSAM.segmenter).state_dict()
        stock = _load("build_sam").build_sam_vit_b().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in stock.items()}


def test_gradients_reach_the_box_through_the_frozen_segmenter(segmenter):
    with torch.no_grad():
        embeddings = segmenter.encode_image(grey_levels(1, TINY.segmenter.image_size)).clone()
    own = boxes(1, 1).requires_grad_()
    with torch.enable_grad():
        segmenter.decode_masks(embeddings, own)[0].mean().backward()
    assert own.grad is not None
    assert own.grad.abs().max() > 0
