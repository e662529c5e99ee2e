"""The paper's multiple-choice prompt, laid out so that all but the question can be reused.

Image tokens and the fixed text (13 options A to M, N for none) come first and the question
last. A causal language model therefore computes the first part once per image; a follow-up
question costs its own tokens alone. The two parts are tokenised apart, so that the tokens of
the first never depend on the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from organseg.errors import CheckpointError, QuestionError
from organseg.networks.wording import (
    TEXT_AFTER_IMAGE,
    TEXT_AFTER_QUESTION,
    TEXT_BEFORE_IMAGE,
)


@dataclass(frozen=True)
class PromptTokens:
    """One batch of prompts as token ids."""

    token_ids: Tensor
    """int64 [B, T], padded on the right."""
    lengths: Tensor
    """int64 [B], tokens of each prompt without padding."""
    image_start: int
    """Position of the first image token, the same in every prompt."""


@dataclass(frozen=True)
class PromptTails:
    """One batch of what stands behind the part that all prompts share."""

    token_ids: Tensor
    """int64 [B, T], padded on the right; T is a bucket's."""
    lengths: Tensor
    """int64 [B], tokens of each tail without padding."""


SHORTEST_BUCKET = 8
"""Tokens of the shortest length that tails are padded to; each further one is twice as long."""


def bucket_length(longest: int, room: int) -> int:
    """The length that tails are padded to: 8, 16, 32, … and at most what there is room for.

    So the shapes that an engine meets are few, whatever is asked, and memory is reused.
    """
    length = SHORTEST_BUCKET
    while length < longest:
        length *= 2
    return min(length, room)


class PromptBuilder:
    """Turns questions into token ids; holds the tokens of the fixed part."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        bos_id: int,
        eos_id: int,
        image_id: int,
        patches: int,
        max_tokens: int,
    ) -> None:
        """Tokenises the fixed part once.

        Args:
            tokenizer: the language model's tokenizer.
            bos_id: the id of the token that opens a prompt.
            eos_id: the id of the token that ends what is generated.
            image_id: the id that stands for one image token.
            patches: the number of image tokens.
            max_tokens: the longest prompt that the language model takes.
        """
        # Special tokens typed into a question are text, never control tokens.
        tokenizer.encode_special_tokens = False
        before = tokenizer.encode(TEXT_BEFORE_IMAGE, add_special_tokens=False).ids
        after = tokenizer.encode(TEXT_AFTER_IMAGE, add_special_tokens=False).ids
        self._closing = tokenizer.encode(TEXT_AFTER_QUESTION, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.prefix: tuple[int, ...] = (bos_id, *before, *([image_id] * patches), *after)
        self.image_start = 1 + len(before)
        self.eos_id = eos_id
        self._max_tokens = max_tokens

    def build(self, questions: Sequence[str]) -> PromptTokens:
        """The prompts of a batch; raises `QuestionError` where one is too long."""
        rows = [(*self.prefix, *self._question_ids(question)) for question in questions]
        longest = max(len(row) for row in rows)
        padded = [row + (0,) * (longest - len(row)) for row in rows]
        return PromptTokens(
            token_ids=torch.tensor(padded, dtype=torch.long),
            lengths=torch.tensor([len(row) for row in rows], dtype=torch.long),
            image_start=self.image_start,
        )

    def build_tails(self, questions: Sequence[str]) -> PromptTails:
        """What follows the prefix in the prompts of a batch, padded to one of few lengths.

        Raises `QuestionError` where a question is too long.
        """
        rows = [self._question_ids(question) for question in questions]
        length = bucket_length(max(map(len, rows)), self._max_tokens - len(self.prefix))
        padded = [row + (0,) * (length - len(row)) for row in rows]
        return PromptTails(
            token_ids=torch.tensor(padded, dtype=torch.long),
            lengths=torch.tensor([len(row) for row in rows], dtype=torch.long),
        )

    def text_ids(self, text: str) -> tuple[int, ...]:
        """The token ids of a text as it stands; control tokens written in it are text."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def _question_ids(self, question: str) -> tuple[int, ...]:
        ids = self.text_ids(question)
        room = self._max_tokens - len(self.prefix) - len(self._closing)
        if len(ids) > room:
            raise QuestionError(
                f"wanted a question of at most {room} tokens, got {len(ids)}: shorten it"
            )
        return (*ids, *self._closing)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`; raises `CheckpointError` where it cannot be read."""
    if not path.is_file():
        raise CheckpointError(
            f"wanted a tokenizer at {path}, found none: give a complete checkpoint folder"
        )
    return Tokenizer.from_file(str(path))
