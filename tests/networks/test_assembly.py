"""A checkpoint from parts that lie apart: the same answers as from one folder, or a refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from original_files import write_originals
from training_toys import TOY_ORIGINAL

from organseg.errors import CheckpointError
from organseg.networks.assembly import PartFolders, assemble
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from organseg.networks.lora import add_lora
from organseg.networks.original_checkpoints import OriginalFiles

PRESET = TOY_ORIGINAL


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The originals, and the folder that a training would write on top of them."""
    folder = tmp_path_factory.mktemp("parts")
    files, organ_seg = write_originals(folder / "originals", PRESET)
    made = build_checkpoint(PRESET, seed=9)
    organ_seg.extractors.load_state_dict(made.organ_seg.extractors.state_dict())
    adapted = add_lora(organ_seg.vision_language.llava)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    organ_seg.vision_language.llava = adapted
    card = replace(made.card, trained=True)
    save_checkpoint(Checkpoint(card, organ_seg, made.cache), folder / "checkpoint")
    return files, folder / "checkpoint"


def assembled(parts) -> Checkpoint:
    files, checkpoint = parts
    return assemble(files, PartFolders(checkpoint / "adapter", checkpoint), PRESET)


def test_parts_that_lie_apart_are_the_checkpoint_that_they_came_from(parts):
    apart, whole = assembled(parts), load_checkpoint(parts[1], PRESET)
    pixels = torch.randint(0, 255, (1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(
            apart.organ_seg.vision_language(pixels, ["Which organ stores bile?"]),
            whole.organ_seg.vision_language(pixels, ["Which organ stores bile?"]),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for part in ("segmenter", "extractors"):
        wanted = getattr(whole.organ_seg, part).state_dict()
        got = getattr(apart.organ_seg, part).state_dict()
        assert all(torch.equal(got[name], weight) for name, weight in wanted.items())
    assert apart.card.trained
    assert apart.cache.thresholds == whole.cache.thresholds


def test_a_checkpoint_that_lacks_a_part_does_not_count_as_trained(parts):
    files, checkpoint = parts
    heads = PartFolders(checkpoint / "adapter", checkpoint)
    without_medsam = assemble(OriginalFiles(llava_med=files.llava_med), heads, PRESET)
    assert not without_medsam.card.trained
    without_heads = assemble(files, PartFolders(adapter=checkpoint / "adapter"), PRESET)
    assert not without_heads.card.trained


def test_heads_without_the_adapter_that_they_were_trained_with_are_refused(parts):
    files, checkpoint = parts
    with pytest.raises(CheckpointError, match=r"wanted the adapter .*give .*adapter as"):
        assemble(files, PartFolders(heads=checkpoint), PRESET)


@pytest.mark.parametrize("name", ["extractors.safetensors", "context_cache.safetensors"])
def test_heads_that_lack_a_file_are_refused_by_its_name(parts, tmp_path, name):
    files, checkpoint = parts
    for other in {"extractors.safetensors", "context_cache.safetensors"} - {name}:
        (tmp_path / other).write_bytes((checkpoint / other).read_bytes())
    with pytest.raises(CheckpointError, match=f"wanted {name}"):
        assemble(files, PartFolders(checkpoint / "adapter", tmp_path), PRESET)


def test_heads_of_another_preset_are_refused_before_the_originals_are_read(parts, tmp_path):
    _, checkpoint = parts
    for name in ("extractors.safetensors", "context_cache.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    card = json.loads((checkpoint / "organ_seg.json").read_text())
    (tmp_path / "organ_seg.json").write_text(json.dumps({**card, "preset": "tiny"}))
    nowhere = OriginalFiles(tmp_path / "nowhere", tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="got those of 'tiny'"):
        assemble(nowhere, PartFolders(checkpoint / "adapter", tmp_path), PRESET)


def test_a_cache_of_another_text_encoder_is_refused(parts, tmp_path):
    files, checkpoint = parts
    for name in ("extractors.safetensors", "context_cache.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    card = json.loads((checkpoint / "organ_seg.json").read_text())
    (tmp_path / "organ_seg.json").write_text(json.dumps({**card, "text_encoder_sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="context cache of the text encoder"):
        assemble(files, PartFolders(checkpoint / "adapter", tmp_path), PRESET)


def test_damaged_heads_are_named(parts, tmp_path):
    files, checkpoint = parts
    for name in ("extractors.safetensors", "context_cache.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    path = tmp_path / "extractors.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"extractors\.safetensors"):
        assemble(files, PartFolders(checkpoint / "adapter", tmp_path), PRESET)


def test_a_tower_without_its_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="the tower alone"):
        assemble(OriginalFiles(vision_tower=tmp_path), PartFolders(), PRESET)
