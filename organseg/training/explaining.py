"""Explained answers: the base weights learn to go on behind a stated verdict, word by word.

Next-token loss on the explanation alone, as `networks.explanation` lays it out. Verdicts are drawn
by chance: what is learned is to explain whatever verdict was given, not to find it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from organseg.contract.verdicts import Verdict
from organseg.data.questions import Question
from organseg.data.questions.explanations import Explanations
from organseg.networks.answer_text import Finding
from organseg.networks.explanation import ExplanationTokens, explanation_tokens
from organseg.networks.prompt import PromptBuilder
from organseg.networks.vision_language import VisionLanguage
from organseg.organs import NONE, organ_by_id
from organseg.training.packing import embed_prompt

_ABSENT_SHARE = 0.3
"""Share of asked organs that the drawn verdict tells absent."""


class ExplainedAnswers(NamedTuple):
    """A batch of explained answers."""

    token_ids: Tensor
    """int64 [N, T], padded on the right."""
    learned: Tensor
    """bool [N, T]: the tokens that are to be foretold."""


def explained_answers(
    prompts: PromptBuilder,
    questions: Sequence[Question],
    explanations: Explanations,
    rng: np.random.Generator,
) -> ExplainedAnswers | None:
    """Each question with verdicts drawn by chance, and an explanation that fits; None for none."""
    if not questions:
        return None
    chance = random.Random(int(rng.integers(2**62)))
    examples = [_example(prompts, question, explanations, chance) for question in questions]
    return ExplainedAnswers(
        pad_sequence([each.token_ids for each in examples], batch_first=True),
        pad_sequence([each.explanation_mask for each in examples], batch_first=True),
    )


def explanation_loss(
    model: VisionLanguage, features: Tensor | None, answers: ExplainedAnswers
) -> Tensor:
    """Cross-entropy of the explanations' tokens.

    Args:
        model: the vision-language model, without adapter.
        features: float [N, P, D], the images' `image_features`; without, the prompts have no image
            tokens.
        answers: N explained answers.
    """
    device = next(model.parameters()).device
    token_ids, learned = answers.token_ids.to(device), answers.learned.to(device)
    if features is None:
        kept = token_ids[0] != token_ids[0, model.prompts.image_start]
        kept[model.prompts.image_start + model.size.patches :] = True
        token_ids, learned = token_ids[:, kept], learned[:, kept]
    # Padded on the right under a causal mask: no token sees the padding.
    hidden = model.language_model(
        inputs_embeds=embed_prompt(model, token_ids, features, model.prompts.image_start),
        use_cache=False,
    ).last_hidden_state
    before, wanted = hidden[:, :-1][learned[:, 1:]], token_ids[:, 1:][learned[:, 1:]]
    logits = model.language_head(before)
    return functional.cross_entropy(logits.float(), wanted)


def _example(
    prompts: PromptBuilder, question: Question, explanations: Explanations, chance: random.Random
) -> ExplanationTokens:
    verdicts = [
        Verdict.ABSENT_IN_IMAGE if chance.random() < _ABSENT_SHARE else Verdict.SEGMENTED
        for _ in question.organ_ids
    ]
    findings = [
        Finding(organ_by_id(organ_id), verdict)
        for organ_id, verdict in zip(question.organ_ids, verdicts, strict=True)
    ]
    text = explanations.choose(question.text, question.organ_ids, verdicts, chance)
    return explanation_tokens(
        prompts, question.text, findings or [Finding(NONE, Verdict.OUT_OF_SCOPE)], text
    )
