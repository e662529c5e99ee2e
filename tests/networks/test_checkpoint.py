"""Checkpoints: everything comes back, and every missing or foreign part is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from constructed import PICTURES, constructed_checkpoint
from organseg.contract import MEDSAM, TINY
from organseg.errors import CheckpointError
from organseg.imaging.decoding import decode_image
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_checkpoint, save_checkpoint
from organseg.networks.lora import add_lora


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(constructed_checkpoint(), folder)
    return folder


def test_a_loaded_checkpoint_answers_as_the_saved_one(saved):
    original, loaded = constructed_checkpoint(), load_checkpoint(saved, TINY)
    assert loaded.card == original.card
    image = decode_image(PICTURES[0])
    answers = [
        checkpoint.organ_seg.answer(image, "Which organ stores bile?", checkpoint.cache.thresholds)
        for checkpoint in (original, loaded)
    ]
    np.testing.assert_allclose(answers[0].similarity, answers[1].similarity, atol=1e-5)
    np.testing.assert_array_equal(answers[0].answer.masks, answers[1].answer.masks)


def test_the_adapter_is_saved_apart_from_the_base_model(saved):
    assert (saved / "adapter" / "adapter_model.safetensors").is_file()
    assert (saved / "vision_language" / "config.json").is_file()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("organ_seg.json", r"organ_seg\.json"),
        ("vision_language/model.safetensors", "LLaVA model"),
        ("vision_language/tokenizer.json", "tokenizer"),
        ("adapter/adapter_config.json", r"adapter_config\.json"),
        ("segmenter.safetensors", r"segmenter\.safetensors"),
        ("extractors.safetensors", r"extractors\.safetensors"),
        ("context_cache.safetensors", "context cache"),
    ],
)
def test_a_missing_part_is_named(saved, tmp_path, part, said):
    copied = shutil.copytree(saved, tmp_path / "copy")
    (copied / part).unlink()
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(copied, TINY)


def test_a_checkpoint_of_another_preset_is_refused(saved):
    with pytest.raises(CheckpointError, match="--preset tiny"):
        load_checkpoint(saved, MEDSAM)


def test_heads_refuse_a_cache_of_another_text_encoder(saved, tmp_path):
    copied = shutil.copytree(saved, tmp_path / "copy")
    card = copied / "organ_seg.json"
    card.write_text(
        card.read_text().replace(constructed_checkpoint().cache.encoder_sha256, "f" * 64)
    )
    with pytest.raises(CheckpointError, match="text encoder"):
        load_checkpoint(copied, TINY)


def test_no_path_of_this_machine_is_written_into_a_checkpoint(tmp_path):
    save_checkpoint(build_checkpoint(TINY, seed=0), tmp_path / "base")
    loaded = load_checkpoint(tmp_path / "base", TINY)
    loaded.organ_seg.vision_language.llava = add_lora(loaded.organ_seg.vision_language.llava)
    save_checkpoint(loaded, tmp_path / "adapted")
    written = [path for path in (tmp_path / "adapted").rglob("*.json") if path.is_file()]
    assert "adapter_config.json" in {path.name for path in written}
    assert not [path.name for path in written if str(tmp_path) in path.read_text()]


def test_saving_a_plain_model_takes_an_earlier_adapter_away(saved, tmp_path):
    copied = shutil.copytree(saved, tmp_path / "copy")
    plain = build_checkpoint(TINY, seed=0)
    save_checkpoint(plain, copied)
    assert not (copied / "adapter").exists()
    assert load_checkpoint(copied, TINY).card == plain.card
