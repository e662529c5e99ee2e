"""The explanation's prompt: image and question, then an answer that has begun with its verdict.

The beginning is written from what `segment` gave (`networks.answer_text`), so what a language model
adds stands behind a stated verdict. It is the model without its adapter that writes: the adapter
was trained to find, not to talk.

The parts are tokenised apart: question, beginning, explanation. So the tokens of each never depend
on the next, and what is trained is what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from organseg.networks.answer_text import Finding, answer_opening
from organseg.networks.prompt import PromptBuilder


class ExplanationTokens(NamedTuple):
    """One whole example of an explained answer, for next-token training."""

    token_ids: Tensor
    """int64 [T]: question prompt, answer's beginning, explanation, end of sequence."""
    explanation_mask: Tensor
    """bool [T]: true on the tokens to be learned, those of the explanation and the end. The state
    before each one is what foretells it."""


def explanation_prompt(
    prompts: PromptBuilder, question: str, findings: Sequence[Finding]
) -> tuple[int, ...]:
    """The token ids that the explanation's words follow; the question's own prompt comes first.

    Raises `QuestionError` where the question is too long.
    """
    asked = prompts.build([question]).token_ids[0].tolist()
    return (*asked, *prompts.text_ids(answer_opening(findings)))


def explanation_tokens(
    prompts: PromptBuilder, question: str, findings: Sequence[Finding], explanation: str
) -> ExplanationTokens:
    """A question with its verdicts and the explanation that is to be given.

    Args:
        prompts: the language model's prompts.
        question: the question in normal form.
        findings: what was found of each asked organ; boxes do not enter.
        explanation: the words behind the first sentence, which states the verdicts: one line.

    Raises:
        QuestionError: the question is too long.
    """
    before = explanation_prompt(prompts, question, findings)
    learned = (*prompts.text_ids(explanation), prompts.eos_id)
    return ExplanationTokens(
        token_ids=torch.tensor((*before, *learned), dtype=torch.long),
        explanation_mask=torch.arange(len(before) + len(learned)) >= len(before),
    )
