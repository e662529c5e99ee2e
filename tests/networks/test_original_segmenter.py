"""MedSAM under segment-anything's names and under transformers': the same masks."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import boxes, grey_levels
from safetensors.torch import load_file, save_file
from training_toys import TOY
from transformers import SamConfig, SamModel

from organseg.errors import CheckpointError
from organseg.networks.original_segmenter import load_medsam
from organseg.networks.segmenter import Segmenter

SIZE = TOY.segmenter


@pytest.fixture(scope="module")
def sam() -> SamModel:
    """transformers' own SAM of the toy's sizes."""
    torch.manual_seed(3)
    config = SamConfig(
        vision_config={
            "hidden_size": SIZE.width,
            "output_channels": SIZE.channels,
            "num_hidden_layers": SIZE.depth,
            "num_attention_heads": SIZE.heads,
            "image_size": SIZE.image_size,
            "patch_size": SIZE.patch_size,
            "window_size": SIZE.window,
            "global_attn_indexes": list(SIZE.global_blocks),
            "mlp_dim": 4 * SIZE.width,
            "num_pos_feats": SIZE.channels // 2,
        },
        prompt_encoder_config={
            "hidden_size": SIZE.channels,
            "image_size": SIZE.image_size,
            "patch_size": SIZE.patch_size,
        },
        mask_decoder_config={"hidden_size": SIZE.channels, "mlp_dim": SIZE.decoder_mlp},
    )
    return SamModel(config).eval()


@pytest.mark.parametrize("form", ["folder", "safetensors", "pickle"])
def test_the_folder_for_transformers_gives_the_masks_of_its_own_sam(sam, tmp_path, form):
    sam.save_pretrained(str(tmp_path))
    path = tmp_path
    if form == "safetensors":
        path = tmp_path / "model.safetensors"
    if form == "pickle":
        (tmp_path / "model.safetensors").unlink()
        torch.save(sam.state_dict(), tmp_path / "pytorch_model.bin")
    segmenter = load_medsam(path, SIZE)
    pixels = grey_levels(1, SIZE.image_size)
    prompts = boxes(1, 3)
    with torch.no_grad():
        grey = (pixels.float() / 255).unsqueeze(1).expand(-1, 3, -1, -1)
        wanted = sam(
            pixel_values=grey,
            input_boxes=prompts * SIZE.image_size,
            multimask_output=False,
        )
        masks, quality = segmenter.decode_masks(segmenter.encode_image(pixels), prompts)
    # Two writings of the same sums.
    torch.testing.assert_close(masks, wanted.pred_masks[:, :, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quality, wanted.iou_scores[:, :, 0], atol=1e-4, rtol=1e-4)


def test_the_published_pickle_loads_by_its_own_name_and_from_its_folder(tmp_path):
    wanted = Segmenter(SIZE).state_dict()
    statistics = {"pixel_mean": torch.zeros(3), "pixel_std": torch.ones(3)}
    torch.save({**wanted, **statistics}, tmp_path / "medsam_vit_b.pth")
    for path in (tmp_path, tmp_path / "medsam_vit_b.pth"):
        loaded = load_medsam(path, SIZE).state_dict()
        assert all(torch.equal(loaded[name], weight) for name, weight in wanted.items())


def test_a_training_state_instead_of_weights_is_refused(tmp_path):
    torch.save({"model": Segmenter(SIZE).state_dict(), "epoch": 3}, tmp_path / "medsam.pth")
    with pytest.raises(CheckpointError, match="only tensors"):
        load_medsam(tmp_path / "medsam.pth", SIZE)


def test_a_folder_without_weights_is_told_what_to_put_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"medsam_vit_b\.pth, model\.safetensors or"):
        load_medsam(tmp_path, SIZE)


def test_a_transformers_sam_that_lacks_a_weight_is_refused_by_its_name(sam, tmp_path):
    sam.save_pretrained(str(tmp_path))
    path = tmp_path / "model.safetensors"
    weights = load_file(str(path))
    del weights["mask_decoder.upscale_conv1.weight"]
    save_file(weights, str(path))
    with pytest.raises(CheckpointError, match=r"output_upscaling\.0\.weight"):
        load_medsam(path, SIZE)
