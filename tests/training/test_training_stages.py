"""The stages at toy width: they learn what they should, and nothing that is frozen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_toys import TOY, TOY_ORIGINAL, sampler, toy_bank

from organseg.errors import CheckpointError
from organseg.networks.build import build_organ_seg
from organseg.training.extractors_stage import ExtractorsStage, paper_options, part_way
from organseg.training.frozen import demand_unchanged, frozen_hashes
from organseg.training.language_stage import LanguageStage, start_from_encoder
from organseg.training.loop import train
from organseg.training.options import (
    ExtractorsOptions,
    LanguageOptions,
    LoopOptions,
    SegmenterOptions,
    VisionLanguageOptions,
    VisionTowerOptions,
)
from organseg.training.packing import ask_together, look
from organseg.training.segmenter_stage import SegmenterStage, jitter_boxes
from organseg.training.state import put_weights, trained_weights
from organseg.training.vision_language_stage import VisionLanguageStage
from organseg.training.vision_tower_stage import VisionTowerStage

QUESTIONS = [["Which organ stores bile?", "liver"], ["Where is the spleen, please?", "hello"]]


def overfit(stage, steps: int, rate: float) -> tuple[float, float]:
    """The summed loss on one and the same batch, at first and after `steps`."""
    batch = stage.draw(np.random.default_rng(0), 4)
    weights = [weight for weight in stage.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate)
    losses = []
    for _ in range(steps):
        total = torch.stack(list(stage(batch).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    return losses[0], losses[-1]


def extractors_stage(tmp_path, monkeypatch, **options) -> ExtractorsStage:
    torch.manual_seed(0)
    return ExtractorsStage(
        build_organ_seg(TOY),
        sampler(),
        sampler(seed=1),
        toy_bank(tmp_path, monkeypatch),
        ExtractorsOptions(**options),
        temperature=0.07,
        validation_slices=4,
    )


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_questions_asked_together_are_answered_as_if_asked_alone(attention):
    model = build_organ_seg(TOY).vision_language
    model.llava.set_attn_implementation(attention)
    pixels = torch.randint(0, 255, (2, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        answers, patches = ask_together(model, model.image_features(pixels), QUESTIONS)
        for column in range(2):
            alone = model(pixels, [row[column] for row in QUESTIONS])
            torch.testing.assert_close(answers[:, column], alone.answer_state, atol=1e-4, rtol=0)
            torch.testing.assert_close(patches, alone.patch_states, atol=1e-4, rtol=0)


def test_images_alone_give_the_patch_states_that_any_question_gives():
    model = build_organ_seg(TOY).vision_language
    pixels = torch.randint(0, 255, (2, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        asked = model(pixels, [row[0] for row in QUESTIONS]).patch_states
        seen = look(model, model.image_features(pixels))
        torch.testing.assert_close(seen, asked, atol=1e-4, rtol=0)


def test_text_alone_is_asked_without_image_tokens():
    model = build_organ_seg(TOY).vision_language
    with torch.no_grad():
        answers, patches = ask_together(model, None, QUESTIONS)
        other, _ = ask_together(model, None, [QUESTIONS[0][::-1], QUESTIONS[1]])
    assert patches is None
    assert answers.shape == (2, 2, 32)
    torch.testing.assert_close(answers[0, 0], other[0, 1], atol=1e-4, rtol=0)


def test_words_are_hidden_from_a_model_in_training_alone():
    model = build_organ_seg(TOY).vision_language
    with torch.no_grad():
        whole, _ = ask_together(model.eval(), None, QUESTIONS)
        still, _ = ask_together(model, None, QUESTIONS, word_dropout=0.5)
        hidden, _ = ask_together(model.train(), None, QUESTIONS, word_dropout=0.5)
    assert torch.equal(whole, still)
    assert not torch.allclose(whole, hidden, atol=1e-3)


def test_the_segmenter_learns_a_few_slices_by_heart():
    torch.manual_seed(0)
    stage = SegmenterStage(
        build_organ_seg(TOY).segmenter, sampler(), sampler(), SegmenterOptions(boxes=2)
    )
    first, last = overfit(stage, 30, 3e-3)
    assert last < 0.6 * first
    figures = stage.eval().validate(torch.device("cpu"))
    assert figures["score"] > 0.2
    assert figures["dice_spleen"] > 0.0 == figures["dice_pancreas"]


def test_what_cells_show_teaches_the_image_encoder_unless_it_is_switched_off():
    segmenter = build_organ_seg(TOY).segmenter
    weights = list(segmenter.image_encoder.parameters())
    for options in (SegmenterOptions(), SegmenterOptions(organ_weight=0.0, tissue_weight=0.0)):
        stage = SegmenterStage(segmenter, sampler(), sampler(), options)
        losses = stage(stage.draw(np.random.default_rng(0), 2))
        gradients = torch.autograd.grad(losses["organ"] + losses["tissue"], weights)
        learned = sum(float(gradient.abs().sum()) for gradient in gradients)
        assert (learned > 0.0) == (options.organ_weight > 0.0)


@pytest.mark.parametrize("preset", [TOY, TOY_ORIGINAL], ids=["resnet", "clip"])
def test_the_vision_tower_learns_a_few_slices_by_heart_and_alone(preset):
    torch.manual_seed(0)
    model = build_organ_seg(preset).vision_language
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    stage = VisionTowerStage(model, sampler(), sampler(), VisionTowerOptions(), validation_slices=4)
    first, last = overfit(stage, 40, 3e-3)
    assert last < 0.7 * first
    assert stage.eval().validate(torch.device("cpu")).keys() >= {"score", "dice_liver"}
    changed = {name for name, weight in model.named_parameters() if weight.ne(before[name]).any()}
    assert changed
    assert all(".vision_tower." in name for name in changed)


def test_a_segmenters_weights_bring_the_random_frequencies_that_they_were_trained_with():
    stages = [
        SegmenterStage(
            build_organ_seg(TOY, seed=seed).segmenter, sampler(), sampler(), SegmenterOptions()
        )
        for seed in (0, 1)
    ]
    put_weights(stages[1], trained_weights(stages[0]))
    box = torch.tensor([[0.1, 0.2, 0.5, 0.8]])
    with torch.no_grad():
        one, other = (stage.segmenter.embed_boxes(box) for stage in stages)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_running_statistics_of_what_is_trained_are_weights_of_it(tmp_path):
    model = build_organ_seg(TOY).vision_language
    stage = VisionTowerStage(model, sampler(), sampler(), VisionTowerOptions(), validation_slices=4)
    options = LoopOptions(steps=2, batch=2, bf16=False, validate_every=0)
    best = train(stage, tmp_path / "run", options, {})
    means = [name for name in best if name.endswith("running_mean")]
    assert means
    other = build_organ_seg(TOY).vision_language
    put_weights(
        VisionTowerStage(other, sampler(), sampler(), VisionTowerOptions(), validation_slices=4),
        best,
    )
    pixels = torch.randint(0, 255, (1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        seen = [each.eval().tower_features(pixels) for each in (model, other)]
    torch.testing.assert_close(*seen, rtol=0, atol=0)


def test_the_language_model_learns_a_few_questions_by_heart_without_an_image(tmp_path, monkeypatch):
    torch.manual_seed(0)
    parts = build_organ_seg(TOY)
    stage = LanguageStage(
        parts.vision_language,
        parts.extractors,
        toy_bank(tmp_path, monkeypatch),
        LanguageOptions(texts=24),
        temperature=0.07,
    )
    first, last = overfit(stage, 40, 3e-3)
    assert last < 0.8 * first
    assert {"score", "choice", "n_acc", "t_acc"} <= stage.eval().validate(
        torch.device("cpu")
    ).keys()
    frozen = {name for name, weight in stage.named_parameters() if not weight.requires_grad}
    assert any("segment_information" in name for name in frozen)
    assert any("vision_tower" in name for name in frozen)


def test_the_vision_language_model_learns_a_few_slices_by_heart(tmp_path, monkeypatch):
    parts = build_organ_seg(TOY)
    torch.manual_seed(0)
    stage = VisionLanguageStage(
        parts.vision_language,
        parts.extractors,
        sampler(),
        sampler(),
        toy_bank(tmp_path, monkeypatch),
        VisionLanguageOptions(questions=2, text_batch=24),
        temperature=0.07,
        validation_slices=4,
    )
    first, last = overfit(stage, 40, 3e-3)
    assert last < 0.75 * first
    figures = stage.eval().validate(torch.device("cpu"))
    assert {"score", "box_iou", "presence_auc", "choice", "n_acc", "t_acc"} <= figures.keys()


def test_token_embeddings_start_from_the_encoders_and_keep_its_neighbours():
    model = build_organ_seg(TOY).vision_language
    start_from_encoder(model)
    table = model.llava.model.language_model.embed_tokens.weight.detach()
    words = ["kidney", "liver", "tuesday"]
    kidney, liver, tuesday = (table[model.prompts.tokenizer.token_to_id(word)] for word in words)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(kidney, liver, dim=0) > cosine(kidney, tuesday, dim=0)


def test_stage_one_trains_lora_and_the_extractors_and_leaves_the_rest_bit_by_bit(
    tmp_path, monkeypatch
):
    stage = extractors_stage(tmp_path, monkeypatch, questions=3, organs=2)
    trained = {name for name, weight in stage.named_parameters() if weight.requires_grad}
    assert {"lora_" in name or ".extractors." in f".{name}" for name in trained} == {True}
    assert any("lora_" in name for name in trained)
    before = frozen_hashes(stage)
    thawed = {name: weight.detach().clone() for name, weight in stage.named_parameters()}
    options = LoopOptions(steps=3, batch=2, bf16=False, validate_every=0, learning_rate=1e-2)
    train(stage, tmp_path / "run", options, {})
    demand_unchanged(before, stage)
    weights = dict(stage.named_parameters())
    assert any(
        "lora_B" in name and not torch.equal(weights[name], thawed[name]) for name in trained
    )
    assert len(before) > 100


def test_half_of_what_stage_one_learned_is_half_of_what_the_adapter_adds(tmp_path, monkeypatch):
    stage = extractors_stage(tmp_path, monkeypatch)
    before = {name: weight.clone() for name, weight in trained_weights(stage).items()}
    overfit(stage, 3, 1e-2)
    after = {name: weight.clone() for name, weight in trained_weights(stage).items()}
    half = part_way(before, after, 0.5)
    first = next(name for name in after if ".lora_A." in name)
    second = first.replace(".lora_A.", ".lora_B.")
    added = half[second] @ half[first]
    torch.testing.assert_close(added, 0.5 * after[second] @ after[first])
    assert added.any()
    head = next(name for name in after if "lora" not in name and after[name].ndim == 2)
    torch.testing.assert_close(half[head], (before[head] + after[head]) / 2)
    assert all(torch.equal(part_way(before, after, 1.0)[name], after[name]) for name in after)


def test_a_frozen_weight_that_changed_is_named(tmp_path, monkeypatch):
    stage = extractors_stage(tmp_path, monkeypatch)
    before = frozen_hashes(stage)
    with torch.no_grad():
        stage.organ_seg.segmenter.image_encoder.patch_embed.proj.bias[0] += 1e-6
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.bias"):
        demand_unchanged(before, stage)


def test_the_masks_gradient_reaches_the_box_through_the_frozen_decoder(tmp_path, monkeypatch):
    stage = extractors_stage(tmp_path, monkeypatch, paper=True)
    batch = stage.draw(np.random.default_rng(0), 2)
    boxes = batch["boxes"].clone().requires_grad_(True)
    stage._mask_losses(batch, boxes)["dice"].backward()
    asked = torch.zeros(2, 13, dtype=torch.bool)
    for row, organs in enumerate(batch["organs"]):
        asked[row, organs[organs > 0] - 1] = True
    moved = boxes.grad.abs().sum(dim=-1) > 0
    assert torch.equal(moved, asked)
    segmenter = stage.organ_seg.segmenter
    assert all(weight.grad is None for weight in segmenter.parameters())


def test_the_plain_recipe_has_the_papers_two_losses_and_no_more(tmp_path, monkeypatch):
    plain = extractors_stage(tmp_path, monkeypatch, paper=True)
    full = extractors_stage(tmp_path, monkeypatch, questions=20)
    rng = np.random.default_rng(0)
    assert plain(plain.draw(rng, 2)).keys() == {"answer", "dice"}
    assert full(full.draw(rng, 2)).keys() == {
        "answer", "several", "gap", "distill", "dice", "attention", "box", "presence",
    }  # fmt: skip
    kept = ExtractorsOptions(box_weight=0.3)
    assert paper_options(kept) is kept


def test_jittered_boxes_stay_boxes_inside_the_image():
    boxes = torch.tensor([[[0.0, 0.0, 0.02, 0.9], [0.4, 0.4, 0.6, 0.6]]])
    moved = jitter_boxes(boxes, 0.5, np.random.default_rng(0))
    assert (moved[..., :2] <= moved[..., 2:]).all()
    assert moved.min() >= 0.0
    assert moved.max() <= 1.0
    assert not torch.equal(moved, boxes)
