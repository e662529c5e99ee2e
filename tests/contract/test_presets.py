"""The presets: sizes that fit together."""

from __future__ import annotations

import pytest

from organseg.contract import PRESETS, Preset, preset_by_name
from organseg.contract.presets import ClipSize
from organseg.errors import ContractError

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


@every_preset
def test_a_preset_is_found_by_its_own_name(preset: Preset) -> None:
    assert preset_by_name(preset.name) is preset


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ContractError, match=r"tiny, medsam, llava-med-7b, got 'huge'"):
        preset_by_name("huge")


@every_preset
def test_the_segmenter_divides_evenly(preset: Preset) -> None:
    sam = preset.segmenter
    assert sam.image_size % sam.patch_size == 0
    assert sam.width % sam.heads == 0
    assert all(block < sam.depth for block in sam.global_blocks)
    assert sam.mask_size == 4 * sam.grid


@every_preset
def test_the_vision_language_model_divides_evenly_and_its_prompt_holds_the_image(
    preset: Preset,
) -> None:
    vlm = preset.vision_language
    assert vlm.image_size % vlm.patch_size == 0
    if isinstance(vlm.tower, ClipSize):
        assert vlm.tower.width % vlm.tower.heads == 0
    else:
        # The stem divides by four, every stage but the first by two.
        assert vlm.patch_size == 2 ** (1 + len(vlm.tower.widths))
    assert vlm.width % vlm.heads == 0
    assert vlm.heads % vlm.key_value_heads == 0
    assert vlm.patches < vlm.max_tokens


@every_preset
def test_the_extractor_heads_divide_evenly(preset: Preset) -> None:
    assert preset.extractors.width % preset.extractors.heads == 0


def test_llava_med_has_576_image_tokens_and_medsam_a_64_grid() -> None:
    assert preset_by_name("llava-med-7b").vision_language.patches == 576
    assert preset_by_name("medsam").segmenter.grid == 64
