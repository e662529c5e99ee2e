"""The explanation's prompt: image and question, then an answer that has begun with its verdict.

The beginning is written from what `segment` gave (`networks.answer_text`), so what a language model
adds stands behind a stated verdict. It is the model without its adapter that writes: the adapter
was trained to find, not to talk.

The parts are tokenised apart: question, beginning, explanation. So the tokens of each never depend
on the next, and what is trained is what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from organseg.contract import Finish
from organseg.networks.answer_text import Finding, answer_closing, answer_opening
from organseg.networks.detokenisation import TextStream
from organseg.networks.generation import Writer
from organseg.networks.prompt import PromptBuilder
from organseg.networks.vision_language import VisionLanguage


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


class Explainer:
    """A language model, its adapter off, that writes answers out."""

    def __init__(self, vision_language: VisionLanguage, device: torch.device) -> None:
        """Takes a model that was placed, and the device that wants its pixels."""
        self._prompts = vision_language.prompts
        self._writer = Writer(vision_language, device)

    def explain(
        self,
        vlm_pixels: npt.NDArray[np.uint8],
        question: str,
        findings: Sequence[Finding],
        *,
        limit: int,
    ) -> Iterator[tuple[str, Finish | None]]:
        """The written answer piece by piece; the last says why the words ended.

        A piece comes for every token, empty where it adds no text, so that whoever reads may stop
        at any of them. The explanation is one line: it cannot begin another that looks written.

        Args:
            vlm_pixels: uint8 [V, V] grey levels.
            question: the question in normal form.
            findings: what was found of each asked organ.
            limit: the most tokens that are generated.

        Raises:
            QuestionError: the question is too long.
        """
        prompt = explanation_prompt(self._prompts, question, findings)
        yield answer_opening(findings), None
        text = TextStream(self._prompts.tokenizer)
        pixels = torch.from_numpy(np.ascontiguousarray(vlm_pixels)).unsqueeze(0)
        finish, begun = Finish.COMPLETE, False
        words = self._writer.write(pixels, prompt, limit=limit)
        for count, token in enumerate(words, start=1):
            piece, line_end, _ = text.step(token).partition("\n")
            if not begun:
                piece = piece.lstrip()
                begun = bool(piece)
                piece = f" {piece}" if begun else ""
            yield piece, None
            if line_end and begun:
                break
            if count == limit:
                finish = Finish.TOKEN_LIMIT
        yield f"\n{answer_closing(findings)}", finish
