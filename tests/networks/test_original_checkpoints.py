"""LLaVA-Med and MedSAM in their authors' layouts: read whole, or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from original_files import write_originals
from safetensors.torch import load_file, save_file
from training_toys import TOY_ORIGINAL

from organseg.errors import CheckpointError
from organseg.networks.original_checkpoints import OriginalFiles, original_checkpoint

# A checkpoint whose output layer is its own, as LLaVA-Med's is.
PRESET = TOY_ORIGINAL


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals"), PRESET)


@pytest.fixture
def copied(originals, tmp_path):
    """The files again, to be spoiled."""
    files, _ = originals
    folder = tmp_path / "llava-med"
    folder.mkdir()
    for path in files.llava_med.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return OriginalFiles(folder, files.medsam)


def test_the_originals_give_the_states_and_masks_of_the_weights_they_hold(originals):
    files, parts = originals
    loaded = original_checkpoint(files, PRESET).organ_seg
    pixels = torch.randint(0, 255, (2, 64, 64), dtype=torch.uint8)
    questions = ["Which organ stores bile?", "Segment the spleen."]
    with torch.no_grad():
        for one, other in zip(
            loaded.vision_language(pixels, questions),
            parts.vision_language(pixels, questions),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for name, weight in parts.segmenter.state_dict().items():
        assert torch.equal(loaded.segmenter.state_dict()[name], weight)
    assert not original_checkpoint(files, PRESET).card.trained


def test_the_language_model_may_be_kept_in_half_precision(originals):
    loaded = original_checkpoint(originals[0], PRESET, dtype=torch.bfloat16).organ_seg
    weights = loaded.vision_language.llava.state_dict().values()
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert next(loaded.extractors.parameters()).dtype == torch.float32


def test_a_vocabulary_without_the_image_token_grows_by_rows(originals):
    larger = replace(
        PRESET,
        vision_language=replace(
            PRESET.vision_language, vocabulary=PRESET.vision_language.vocabulary + 64
        ),
    )
    loaded = original_checkpoint(originals[0], larger).organ_seg.vision_language.llava
    table = loaded.state_dict()["model.language_model.embed_tokens.weight"]
    assert len(table) == larger.vision_language.vocabulary
    torch.testing.assert_close(table[-1], table[:-64].mean(dim=0))


@pytest.mark.parametrize(
    ("field", "value"),
    [("mm_projector_type", "linear"), ("num_hidden_layers", 31), ("mm_vision_select_layer", -1)],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(copied, field, value):
    path = copied.llava_med / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(CheckpointError, match=field):
        original_checkpoint(copied, PRESET)


def test_a_missing_weight_is_refused_by_name(copied):
    path = next(copied.llava_med.glob("*-00002-*"))
    weights = load_file(str(path))
    del weights["model.norm.weight"]
    save_file(weights, str(path))
    with pytest.raises(CheckpointError, match=r"1 missing.*language_model\.norm"):
        original_checkpoint(copied, PRESET)


@pytest.mark.parametrize("has_index", [True, False])
def test_a_missing_shard_is_named_before_anything_is_read(copied, has_index, monkeypatch):
    missing = next(copied.llava_med.glob("*-00002-*"))
    if has_index:
        shards = {path.name: load_file(str(path)) for path in copied.llava_med.glob("*-of-*")}
        weight_map = {name: shard for shard, each in shards.items() for name in each}
        index = copied.llava_med / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))
    missing.unlink()
    monkeypatch.setattr("organseg.networks.weight_files.read_safetensors", lambda path: 1 / 0)
    with pytest.raises(CheckpointError, match=f"missing: {missing.name}.*Nothing was read"):
        original_checkpoint(copied, PRESET)


def test_an_index_that_points_out_of_the_folder_is_refused(copied):
    index = copied.llava_med / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="elsewhere"):
        original_checkpoint(copied, PRESET)


def test_an_unknown_weight_is_refused_by_name(copied):
    path = next(copied.llava_med.glob("*-00002-*"))
    save_file({**load_file(str(path)), "model.seg_head.weight": torch.zeros(2)}, str(path))
    with pytest.raises(CheckpointError, match=r"model\.seg_head\.weight"):
        original_checkpoint(copied, PRESET)


def test_a_damaged_file_is_named(copied):
    path = next(copied.llava_med.glob("*-00001-*"))
    whole = path.read_bytes()
    # Cut in the header, and cut among the weights.
    for kept in (100, len(whole) - 100):
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match="00001-of-00002"):
            original_checkpoint(copied, PRESET)


def test_a_segmenter_of_other_sizes_is_refused(originals):
    files, _ = originals
    wider = replace(PRESET, segmenter=replace(PRESET.segmenter, channels=64))
    with pytest.raises(CheckpointError, match="medsam_toy"):
        original_checkpoint(files, wider)


def test_a_pickle_that_would_run_code_is_not_run(originals, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    torch.save({"weights": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match=r"trap\.pth.*never run"):
        original_checkpoint(OriginalFiles(originals[0].llava_med, tmp_path / "trap.pth"), PRESET)
    assert not (tmp_path / "trapped").exists()


def test_medsam_alone_goes_with_a_language_model_of_our_own(originals):
    files, parts = originals
    loaded = original_checkpoint(OriginalFiles(medsam=files.medsam), PRESET)
    assert "medsam_toy" in loaded.card.description
    for name, weight in parts.segmenter.state_dict().items():
        assert torch.equal(loaded.organ_seg.segmenter.state_dict()[name], weight)


def test_a_folder_without_a_tokenizer_is_told_what_to_copy(copied):
    (copied.llava_med / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"Mistral-7B's tokenizer\.json"):
        original_checkpoint(copied, PRESET)


@pytest.mark.parametrize("layout", ["whole CLIP", "tower alone", "pickle"])
def test_another_vision_tower_takes_the_place_of_the_checkpoints_own(originals, tmp_path, layout):
    files, parts = originals
    tower = parts.vision_language.vision_tower.state_dict()
    other = {name: weight + 1 for name, weight in tower.items()}
    clip = {f"vision_model.{name}": weight for name, weight in other.items()}
    if layout == "tower alone":
        clip = other
    else:
        clip |= {"text_model.final_layer_norm.weight": torch.ones(2), "logit_scale": torch.ones(1)}
    if layout == "pickle":
        torch.save(clip, tmp_path / "pytorch_model.bin")
    else:
        save_file(clip, str(tmp_path / "model.safetensors"))
    chosen = replace(files, vision_tower=tmp_path)
    loaded = original_checkpoint(chosen, PRESET)
    own = original_checkpoint(files, PRESET).organ_seg.vision_language.vision_tower.state_dict()
    for name, weight in loaded.organ_seg.vision_language.vision_tower.state_dict().items():
        assert torch.equal(weight, other[name])
        assert torch.equal(own[name], tower[name])
    assert tmp_path.name in loaded.card.description


def test_a_checkpoint_without_a_tower_is_told_of_the_option(copied):
    for path in copied.llava_med.glob("*.safetensors"):
        weights = load_file(str(path))
        kept = {name: each for name, each in weights.items() if "vision_tower" not in name}
        save_file(kept, str(path))
    with pytest.raises(CheckpointError, match="--vision-tower"):
        original_checkpoint(copied, PRESET)


def test_a_tower_of_another_size_is_refused_by_name(originals, tmp_path):
    tower = originals[1].vision_language.vision_tower.state_dict()
    tower["post_layernorm.weight"] = torch.ones(7)
    save_file(tower, str(tmp_path / "model.safetensors"))
    with pytest.raises(CheckpointError, match=r"post_layernorm\.weight \(7,\)"):
        original_checkpoint(replace(originals[0], vision_tower=tmp_path), PRESET)
