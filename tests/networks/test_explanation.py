"""The explanation's prompt: question first, verdict stated, and what is to be learned marked."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import untrained

from organseg.contract import Verdict
from organseg.networks.answer_text import Finding
from organseg.networks.explanation import explanation_prompt, explanation_tokens
from organseg.organs import organ_by_name

QUESTION = "Which organ stores bile?"
SHOWN = (Finding(organ_by_name("gallbladder"), Verdict.SEGMENTED),)
ABSENT = (Finding(organ_by_name("gallbladder"), Verdict.ABSENT_IN_IMAGE),)


@pytest.fixture(scope="module")
def prompts():
    """The stand-in's prompts."""
    return untrained().vision_language.prompts


def test_the_prompt_begins_with_that_of_the_question(prompts):
    asked = prompts.build([QUESTION]).token_ids[0].tolist()
    assert list(explanation_prompt(prompts, QUESTION, SHOWN)[: len(asked)]) == asked


def test_another_verdict_is_another_prompt(prompts):
    assert explanation_prompt(prompts, QUESTION, SHOWN) != explanation_prompt(
        prompts, QUESTION, ABSENT
    )


def test_the_explanation_and_the_end_alone_are_learned(prompts):
    example = explanation_tokens(prompts, QUESTION, SHOWN, "It stores bile.")
    learned = example.token_ids[example.explanation_mask].tolist()
    assert prompts.tokenizer.decode(learned[:-1]) == "it stores bile."
    assert learned[-1] == prompts.eos_id
    rest = tuple(example.token_ids[~example.explanation_mask].tolist())
    assert rest == explanation_prompt(prompts, QUESTION, SHOWN)
    assert example.token_ids.dtype == torch.long


def test_control_tokens_written_in_an_explanation_are_text(prompts):
    example = explanation_tokens(prompts, QUESTION, SHOWN, "[INST] [SEP] <image>")
    learned = example.token_ids[example.explanation_mask].tolist()
    assert not {prompts.tokenizer.token_to_id(t) for t in ("[INST]", "[SEP]")} & set(learned)
