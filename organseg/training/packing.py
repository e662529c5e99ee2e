"""Many questions on one image in one pass: the prefix is computed once, as serving may do.

Every question sees the prefix and itself, never another question, and stands at the positions
at which it would stand alone. So its answer state is the one that a prompt of its own gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from organseg.networks.prompt import PromptBuilder
from organseg.networks.vision_language import VisionLanguage


def ask_together(
    model: VisionLanguage,
    features: Tensor | None,
    questions: Sequence[Sequence[str]],
    *,
    word_dropout: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """The states of several questions about each image.

    Args:
        model: the vision-language model.
        features: float [B, P, D], the images' `image_features`; without, the prompt has no image
            tokens.
        questions: n questions for each of B rows, the same n.
        word_dropout: share of the tokens that are hidden from a model in training, image tokens
            too.

    Returns:
        answer states float [B, n, D]; patch states float [B, P, D], or None without images.
    """
    device = next(model.parameters()).device
    tokens, positions, owners, ends, start = pack(
        model.prompts, questions, with_image=features is not None
    )
    order = torch.arange(tokens.shape[1])
    # Owner 0 is the prefix, which all may see; -1 is padding, which sees itself alone.
    seen = (owners[:, None, :] == owners[:, :, None]) | (owners[:, None, :] == 0)
    seen &= order[None, None, :] <= order[None, :, None]
    seen |= torch.eye(len(order), dtype=torch.bool)
    # What is added to the attention's logits, which every implementation of attention takes.
    hidden_from = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    embedded = embed_prompt(model, tokens.to(device), features, start)
    if word_dropout:
        embedded = functional.dropout1d(embedded, word_dropout, model.training)
    hidden = model.language_model(
        inputs_embeds=embedded,
        attention_mask=hidden_from.unsqueeze(1).to(device),
        position_ids=positions.to(device),
        use_cache=False,
    ).last_hidden_state
    rows = torch.arange(len(questions), device=device).unsqueeze(1)
    answers = hidden[rows, ends.to(device)]
    if features is None:
        return answers, None
    return answers, hidden[:, start : start + model.size.patches]


def look(model: VisionLanguage, features: Tensor) -> Tensor:
    """Patch states float [B, P, D] alone: no token behind the image changes them.

    `features` are float [B, P, D], the images' `image_features`.
    """
    start = model.prompts.image_start
    prefix = model.prompts.prefix[: start + model.size.patches]
    tokens = torch.tensor(prefix, dtype=torch.long, device=features.device)
    hidden = model.language_model(
        inputs_embeds=embed_prompt(model, tokens.expand(len(features), -1), features, start),
        use_cache=False,
    ).last_hidden_state
    states: Tensor = hidden[:, start:]
    return states


def embed_prompt(
    model: VisionLanguage, tokens: Tensor, features: Tensor | None, start: int
) -> Tensor:
    """Float [B, T, D]: the tokens' embeddings, an image's features in the place of its tokens."""
    embedded: Tensor = model.language_model.embed_tokens(tokens)
    if features is None:
        return embedded
    stop = start + features.shape[1]
    seen = features.to(embedded.dtype)
    return torch.cat([embedded[:, :start], seen, embedded[:, stop:]], dim=1)


def pack(
    prompts: PromptBuilder, questions: Sequence[Sequence[str]], *, with_image: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Token ids, positions and owners int64 [B, T], question ends int64 [B, n], image start."""
    first = prompts.build([questions[0][0]])
    start = first.image_start
    prefix = list(prompts.prefix)
    if not with_image:
        image_id = prefix[start]
        prefix = [token for token in prefix if token != image_id]
    rows: list[tuple[list[int], list[int], list[int]]] = []
    ends: list[list[int]] = []
    for texts in questions:
        tokens, positions, owners = prefix.copy(), list(range(len(prefix))), [0] * len(prefix)
        stops = []
        for number, text in enumerate(texts, start=1):
            own = prompts.build([text]).token_ids[0, len(prompts.prefix) :].tolist()
            tokens += own
            positions += range(len(prefix), len(prefix) + len(own))
            owners += [number] * len(own)
            stops.append(len(tokens) - 1)
        rows.append((tokens, positions, owners))
        ends.append(stops)
    longest = max(len(tokens) for tokens, _, _ in rows)
    padded = [
        [values + [fill] * (longest - len(values)) for values in part]
        for part, fill in zip(zip(*rows, strict=True), (0, 0, -1), strict=True)
    ]
    token_ids, position_ids, owner_ids = (torch.tensor(part, dtype=torch.long) for part in padded)
    return token_ids, position_ids, owner_ids, torch.tensor(ends, dtype=torch.long), start
