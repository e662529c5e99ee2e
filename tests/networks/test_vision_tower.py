"""The vision tower: laid out as LLaVA reads it, loaded as it was saved, the same in any company."""

from __future__ import annotations

import pytest
import torch
from training_toys import TOY, TOY_ORIGINAL
from transformers import (
    AutoModel,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
    ResNetConfig,
    ResNetModel,
)

from organseg.contract import TINY
from organseg.networks.build import build_organ_seg
from organseg.networks.vision_tower import ResNetTower, tower_config

both = pytest.mark.parametrize("preset", [TOY, TOY_ORIGINAL], ids=["resnet", "clip"])


def pixels(batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 255, (batch, 64, 64), dtype=torch.uint8, generator=generator)


def test_a_preset_names_its_tower():
    assert isinstance(build_organ_seg(TOY).vision_language.vision_tower, ResNetTower)
    assert isinstance(build_organ_seg(TOY_ORIGINAL).vision_language.vision_tower, CLIPVisionModel)


def test_features_are_resnets_last_map_row_by_row():
    torch.manual_seed(0)
    tower = AutoModel.from_config(tower_config(TOY.vision_language)).eval()
    size = TOY.vision_language.tower
    config = ResNetConfig(
        embedding_size=size.stem,
        hidden_sizes=size.widths,
        depths=size.depths,
        layer_type="basic",
    )
    plain = ResNetModel(config).eval()
    plain.load_state_dict(tower.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        rows = tower(picture).hidden_states[-1]
        grid = plain(picture).last_hidden_state
    assert rows.shape == (1, TOY.vision_language.patches, 32)
    torch.testing.assert_close(rows[0, 1], grid[0, :, 0, 1])
    torch.testing.assert_close(rows[0, 4], grid[0, :, 1, 0])


@both
def test_image_features_are_what_llava_itself_gives_the_language_model(preset):
    model = build_organ_seg(preset).vision_language
    with torch.no_grad():
        ours = model.image_features(pixels())
        normalised = model._normalise(pixels())
        theirs = model.llava.model.get_image_features(normalised).pooler_output
    assert ours.shape == (2, preset.vision_language.patches, preset.vision_language.width)
    torch.testing.assert_close(ours, torch.stack(list(theirs)))


def test_the_tower_sees_an_image_the_same_in_any_company():
    model = build_organ_seg(TINY).vision_language
    size = TINY.vision_language.image_size
    batch = torch.randint(0, 255, (3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        together, alone = model.tower_features(batch), model.tower_features(batch[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)


def test_the_tower_is_loaded_as_it_was_saved(tmp_path):
    model = build_organ_seg(TOY).vision_language
    tower = model.vision_tower
    tower.embedder.embedder.normalization.running_mean.add_(0.5)
    model.llava.save_pretrained(tmp_path)
    loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path).model.vision_tower
    assert isinstance(loaded, ResNetTower)
    for name, weight in tower.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight, rtol=0, atol=0)
