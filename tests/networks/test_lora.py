"""LoRA: where it sits, and that merging changes nothing that is seen."""

from __future__ import annotations

import copy

import pytest
import torch
from network_fixtures import grey_levels, untrained
from safetensors.torch import load_file, save_file

from organseg.contract import TINY
from organseg.errors import CheckpointError
from organseg.networks.lora import add_lora, load_lora, merge_lora
from organseg.networks.vision_language import VisionLanguage, build_llava


def adapted_copy(seed: int = 1):
    adapted = add_lora(copy.deepcopy(untrained().vision_language.llava))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return adapted.eval()


def test_only_the_language_models_query_and_value_projections_are_adapted():
    adapted = adapted_copy()
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name and "language_model" in name for name in trained)
    places = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trained}
    assert places == {"q_proj", "v_proj"}
    assert len(trained) == 2 * 2 * TINY.vision_language.depth
    assert not any("vision_tower" in name for name in trained)


def test_the_merged_model_gives_the_adapted_models_states():
    reference = untrained().vision_language
    pixels = grey_levels(2, TINY.vision_language.image_size)
    questions = ["Which organ stores bile?", "liver"]
    adapted = adapted_copy()
    with torch.inference_mode():
        plain = reference(pixels, questions)
        before = VisionLanguage(adapted, reference.prompts, reference.size)(pixels, questions)
        merged = VisionLanguage(merge_lora(adapted), reference.prompts, reference.size)
        after = merged(pixels, questions)
    torch.testing.assert_close(after.answer_state, before.answer_state, atol=1e-4, rtol=0)
    torch.testing.assert_close(after.patch_states, before.patch_states, atol=1e-4, rtol=0)
    assert not torch.allclose(before.answer_state, plain.answer_state, atol=1e-2)


def test_an_adapter_of_another_width_is_refused_with_both_widths(tmp_path):
    adapted_copy().save_pretrained(str(tmp_path / "adapter"))
    narrow = TINY.vision_language.__class__(
        **{**TINY.vision_language.__dict__, "width": 128, "vocabulary": 64}
    )
    with pytest.raises(CheckpointError, match=r"width 128, the one in .* it is for width 256"):
        load_lora(build_llava(narrow, image_token_id=9), tmp_path / "adapter")


def test_an_adapter_for_other_modules_is_refused_instead_of_left_untrained(tmp_path):
    adapted_copy().save_pretrained(str(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    # The names of LLaVA-Med's own code; PEFT would warn, and put on an adapter of zeros.
    weights = load_file(str(path))
    save_file({n.replace(".language_model.", "."): w for n, w in weights.items()}, str(path))
    with (
        pytest.warns(UserWarning, match="missing adapter keys"),
        pytest.raises(CheckpointError, match=r"16 missing .* and 16 unknown"),
    ):
        load_lora(copy.deepcopy(untrained().vision_language.llava), tmp_path)


def test_a_damaged_adapter_is_named(tmp_path):
    adapted_copy().save_pretrained(str(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is not one"):
        load_lora(copy.deepcopy(untrained().vision_language.llava), tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"wanted the adapter's weights"):
        load_lora(copy.deepcopy(untrained().vision_language.llava), tmp_path)


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        load_lora(copy.deepcopy(untrained().vision_language.llava), tmp_path)
