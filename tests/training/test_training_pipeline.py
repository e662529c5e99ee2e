"""The whole pipeline at toy width: from nothing to a calibrated checkpoint, again the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from flare22_files import write_phantoms_as_flare22
from original_files import write_originals
from training_toys import TOY, TOY_ORIGINAL, few_questions, vectors_by_lot

from organseg.errors import CheckpointError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_checkpoint, save_checkpoint
from organseg.networks.lora import merge_adapter
from organseg.training.assess import assess
from organseg.training.averaging import write_average
from organseg.training.options import (
    CalibrationOptions,
    ExtractorsOptions,
    LanguageOptions,
    LoopOptions,
    Recipe,
    SegmenterOptions,
    SlicesOptions,
    VisionLanguageOptions,
)
from organseg.training.pipeline import Pipeline
from organseg.training.sentences import QuestionBank
from organseg.training.state import load_weights

LOOP = LoopOptions(steps=2, batch=2, bf16=False, validate_every=0)
RECIPE = Recipe(
    slices=SlicesOptions(volumes=2, validation_volumes=1, slices=6, size=64, processes=1),
    segmenter=SegmenterOptions(boxes=2),
    segmenter_loop=LOOP,
    vision_tower_loop=LOOP,
    language=LanguageOptions(texts=24),
    language_loop=LOOP,
    vision_language=VisionLanguageOptions(questions=2, text_batch=24),
    vision_language_loop=LOOP,
    extractors=ExtractorsOptions(questions=2, organs=2),
    extractors_loop=LOOP,
    calibration=CalibrationOptions(slices=6),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A pipeline that has run through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("organseg.training.sentences.embed", vectors_by_lot)
        patch.setattr("organseg.training.assess.embed", vectors_by_lot)
        pipeline = toy_pipeline(tmp_path_factory.mktemp("training"))
        pipeline.run_all()
        yield pipeline


def toy_pipeline(out, recipe=RECIPE, base=None, preset=TOY, start=None):
    pipeline = Pipeline(out, preset, recipe, base=base, start=start)
    pipeline._made_bank = QuestionBank(out / "embeddings", sentences=20, questions=few_questions())
    return pipeline


def test_the_checkpoint_is_complete_and_says_that_it_was_trained(trained):
    folder = trained.checkpoint_folder
    checkpoint = load_checkpoint(folder, TOY)
    assert checkpoint.card.trained
    assert "phantoms" in checkpoint.card.description
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    record = json.loads((folder / "training.json").read_text())
    stages = ("segmenter", "vision-tower", "language", "vision-language", "extractors")
    assert tuple(record["stages"]) == stages
    assert record["slices"]["volumes"] == 2
    assert record["stages"]["segmenter"]["options"]["SegmenterOptions.boxes"] == 2
    assert (folder / "log" / "vision-language" / "train.csv").read_text().startswith("step,")
    assert checkpoint.cache.thresholds.presence != (0.5,) * 13


def test_stored_weights_are_half_as_large_and_read_back_as_float32(trained, tmp_path):
    checkpoint = build_checkpoint(TOY)
    save_checkpoint(checkpoint, tmp_path / "whole")
    save_checkpoint(checkpoint, tmp_path / "half", dtype=torch.float16)
    size = {
        name: sum(path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors"))
        for name in ("whole", "half")
    }
    assert size["half"] < 0.55 * size["whole"]
    loaded = load_checkpoint(tmp_path / "half", TOY).organ_seg.state_dict()
    for name, weight in checkpoint.organ_seg.state_dict().items():
        assert loaded[name].dtype == weight.dtype
        torch.testing.assert_close(loaded[name], weight, atol=1e-5, rtol=1e-3)


def test_the_pipeline_again_changes_nothing(trained):
    before = (trained.out / "extractors" / "state.pt").read_bytes()
    weights = load_checkpoint(trained.checkpoint_folder, TOY).organ_seg.state_dict()
    toy_pipeline(trained.out).run_all()
    after = load_checkpoint(trained.checkpoint_folder, TOY).organ_seg.state_dict()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert (trained.out / "extractors" / "state.pt").read_bytes() == before


def test_stage_one_starts_from_the_weights_of_stage_zero(trained):
    started = trained._starting_point().organ_seg
    final = load_checkpoint(trained.checkpoint_folder, TOY).organ_seg
    for name, weight in started.segmenter.state_dict().items():
        torch.testing.assert_close(final.segmenter.state_dict()[name], weight, atol=1e-4, rtol=1e-3)
    fresh = build_checkpoint(TOY).organ_seg.segmenter.state_dict()
    learned = started.segmenter.state_dict()
    assert any(not torch.allclose(fresh[name], learned[name]) for name in fresh)


def test_stage_zero_is_a_checkpoint_without_an_adapter_that_stage_one_starts_from(trained):
    folder = trained.out / "base"
    assert not (folder / "adapter").exists()
    written = load_checkpoint(folder, TOY).organ_seg.state_dict()
    started = trained._starting_point().organ_seg.state_dict()
    assert written.keys() == started.keys()
    assert all(torch.equal(written[name], weight) for name, weight in started.items())


def test_a_mean_holds_the_adapter_merged(trained, tmp_path):
    write_average([trained.checkpoint_folder, trained.checkpoint_folder], TOY, tmp_path / "mean")
    assert not (tmp_path / "mean" / "adapter").exists()
    merged = load_checkpoint(trained.checkpoint_folder, TOY).organ_seg
    merge_adapter(merged.vision_language)
    mean = load_checkpoint(tmp_path / "mean", TOY).organ_seg.state_dict()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(mean[name], weight, atol=1e-4, rtol=2e-3)
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert record["stages"]["extractors"]["options"]["ExtractorsOptions.kept"] == 1.0
    assert len(record["average_of"]) == 2


def test_going_on_takes_what_was_taught_anew_and_the_rest_from_the_start(trained, tmp_path):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    (tmp_path / "vision-tower").symlink_to(trained.out / "vision-tower")
    save_checkpoint(build_checkpoint(TOY, seed=3), tmp_path / "start")
    begun = toy_pipeline(tmp_path, start=tmp_path / "start")._both_parts().organ_seg
    started = load_checkpoint(tmp_path / "start", TOY).organ_seg
    taught = load_weights(trained.out / "vision-tower" / "best.safetensors")
    for name, weight in begun.vision_language.state_dict().items():
        wanted = taught.get(f"vision_language.{name}")
        if wanted is None:
            wanted = started.vision_language.state_dict()[name]
        torch.testing.assert_close(weight, wanted, rtol=0, atol=0)
    assert any(".vision_tower." in name for name in taught)


def test_stage_one_takes_a_stage_that_was_not_taught_anew_from_the_start(trained, tmp_path):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    (tmp_path / "vision-language").symlink_to(trained.out / "vision-language")
    save_checkpoint(build_checkpoint(TOY, seed=3), tmp_path / "start")
    begun = toy_pipeline(tmp_path, start=tmp_path / "start")._starting_point().organ_seg
    started = load_checkpoint(tmp_path / "start", TOY).organ_seg.segmenter.state_dict()
    for name, weight in begun.segmenter.state_dict().items():
        torch.testing.assert_close(weight, started[name], rtol=0, atol=0)
    taught = load_weights(trained.out / "vision-language" / "best.safetensors")
    learned = begun.vision_language.state_dict()
    shared = [name for name in learned if f"vision_language.{name}" in taught]
    assert any("language_model.layers" in name for name in shared)
    for name in shared:
        wanted = taught[f"vision_language.{name}"]
        torch.testing.assert_close(learned[name], wanted, rtol=0, atol=0)


@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_weights_talk_where_their_own_stage_was_taught_to(trained, tmp_path, weight):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    silent = build_checkpoint(TOY, seed=3)
    silent = replace(silent, card=replace(silent.card, talks=False))
    save_checkpoint(silent, tmp_path / "start")
    taught = replace(RECIPE.vision_language, explanation_weight=weight)
    recipe = replace(RECIPE, vision_language=taught)
    toy_pipeline(tmp_path, recipe, start=tmp_path / "start").train_vision_language()
    # Stage 1 is another command, which knows nothing of that option.
    pipeline = toy_pipeline(tmp_path, start=tmp_path / "start")
    pipeline.train_extractors()
    assert load_checkpoint(pipeline.checkpoint_folder, TOY).card.talks == (weight > 0)


def test_stage_one_trains_on_given_base_weights_and_by_the_plain_recipe(trained, tmp_path):
    save_checkpoint(build_checkpoint(TOY, seed=3), tmp_path / "base")
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    plain = replace(RECIPE, extractors=replace(RECIPE.extractors, paper=True))
    pipeline = toy_pipeline(tmp_path, plain, tmp_path / "base")
    pipeline.train_extractors()
    card = load_checkpoint(pipeline.checkpoint_folder, TOY).card
    assert card.description.startswith("plain recipe")
    header = (tmp_path / "extractors" / "train.csv").read_text().splitlines()[0]
    assert header == "step,minutes,rate,loss,answer,dice"


def test_stage_zero_goes_on_from_a_checkpoint_with_its_adapter_merged(trained, tmp_path):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    pipeline = toy_pipeline(tmp_path, start=trained.checkpoint_folder)
    begun = pipeline._beginning(0).organ_seg
    pixels = torch.randint(0, 255, (1, 64, 64), dtype=torch.uint8)
    loaded = load_checkpoint(trained.checkpoint_folder, TOY).organ_seg
    with torch.no_grad():
        for one, other in zip(
            begun.vision_language(pixels, ["liver"]),
            loaded.vision_language(pixels, ["liver"]),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert all(weight.requires_grad for weight in begun.parameters())
    pipeline.run_all()
    assert load_checkpoint(pipeline.checkpoint_folder, TOY).card.trained


def test_a_run_does_not_go_on_from_another_base(trained, tmp_path):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    for seed, wanted in ((3, None), (4, "base")):
        save_checkpoint(build_checkpoint(TOY, seed=seed), tmp_path / f"base{seed}")
        pipeline = toy_pipeline(tmp_path, base=tmp_path / f"base{seed}")
        if wanted is None:
            pipeline.train_extractors()
        else:
            with pytest.raises(CheckpointError, match=wanted):
                pipeline.train_extractors()


def test_a_base_with_an_adapter_is_refused(trained, tmp_path):
    (tmp_path / "slices").symlink_to(trained.out / "slices")
    pipeline = toy_pipeline(tmp_path, base=trained.checkpoint_folder)
    with pytest.raises(CheckpointError, match="without an adapter"):
        pipeline.train_extractors()


def test_the_papers_models_learn_from_a_flare22_shaped_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("organseg.training.sentences.embed", vectors_by_lot)
    preset = TOY_ORIGINAL
    files, parts = write_originals(tmp_path / "originals", preset)
    write_phantoms_as_flare22(tmp_path / "FLARE22", patients=12)
    dataset = SlicesOptions(size=64, dataset=str(tmp_path / "FLARE22"))
    recipe = replace(RECIPE, slices=dataset, extractors=replace(RECIPE.extractors, paper=True))
    pipeline = toy_pipeline(tmp_path / "run", recipe, files, preset=preset)
    pipeline.run_all()
    checkpoint = load_checkpoint(pipeline.checkpoint_folder, preset)
    assert checkpoint.card.description.startswith("plain recipe of the paper, trained on FLARE22")
    assert not (pipeline.out / "segmenter").exists()
    for name, weight in parts.segmenter.state_dict().items():
        kept = checkpoint.organ_seg.segmenter.state_dict()[name]
        torch.testing.assert_close(kept, weight, atol=1e-4, rtol=1e-3)


def test_figures_are_shares(trained):
    figures = assess(trained, held_out=False, slices=6)
    assert "held_out_questions" not in figures
    values = [
        value
        for topic in figures.values()
        for name, value in topic.items()
        if name not in ("questions", "box_giou")
    ]
    assert len(values) > 20
    assert np.all((np.array(values) >= 0) & (np.array(values) <= 1))
