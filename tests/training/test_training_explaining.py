"""Explained answers: only the explanation is learned, alike in any company, and it is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_toys import TOY, TOY_ORIGINAL

from organseg.contract.verdicts import Verdict
from organseg.data.questions import Split, load_questions
from organseg.data.questions.explanations import load_explanations
from organseg.networks.answer_text import Finding
from organseg.networks.build import build_organ_seg
from organseg.networks.explanation import explanation_prompt
from organseg.organs import NONE
from organseg.training.explaining import ExplainedAnswers, explained_answers, explanation_loss

QUESTIONS = load_questions(Split.TRAIN)[::2500]


def answers_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return explained_answers(model.prompts, QUESTIONS, load_explanations(), rng)


def test_nothing_but_the_explanation_and_its_end_is_learned():
    model = build_organ_seg(TOY).vision_language
    (question,) = [each for each in load_questions(Split.TRAIN) if not each.in_scope][:1]
    (tokens,), (learned,) = explained_answers(
        model.prompts, [question], load_explanations(), np.random.default_rng(0)
    )
    before = explanation_prompt(model.prompts, question.text, [Finding(NONE, Verdict.OUT_OF_SCOPE)])
    assert tuple(tokens[~learned].tolist()) == before
    assert tokens[-1] == model.prompts.eos_id


@pytest.mark.parametrize("with_image", [False, True])
def test_an_answer_is_learned_the_same_in_any_company(with_image):
    torch.manual_seed(0)
    model = build_organ_seg(TOY).vision_language
    answers = answers_of(model)
    pixels = torch.randint(0, 255, (len(QUESTIONS), 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = model.image_features(pixels) if with_image else None
        together = explanation_loss(model, features, answers)
        alone, counts = [], []
        for row in range(len(QUESTIONS)):
            own = ExplainedAnswers(*(part[row : row + 1] for part in answers))
            seen = None if features is None else features[row : row + 1]
            alone.append(explanation_loss(model, seen, own))
            counts.append(own.learned.sum())
    weights = torch.stack(counts).float()
    torch.testing.assert_close(
        together, (torch.stack(alone) * weights).sum() / weights.sum(), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("preset", [TOY, TOY_ORIGINAL], ids=["tied", "own_head"])
def test_a_model_learns_to_explain(preset):
    torch.manual_seed(0)
    model = build_organ_seg(preset).vision_language
    answers = answers_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = explanation_loss(model, None, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]
