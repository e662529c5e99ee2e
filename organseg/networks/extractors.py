"""The two extractor heads: F_vl in, box prompts, presence and F_t out.

- Segment Information Extractor (the paper's F_seg): an organ query per prototype of the context
  cache, joined with the answer state, attends to the patch states and gives a box prompt and
  the probability that the image shows the organ.
- Information of Interest Extractor (the paper's F_t): a vector in the text encoder's space,
  compared by cosine with the prototypes.

The context cache enters as constants of the module, so it is exported as an initializer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.contract.presets import ExtractorSize, VisionLanguageSize
from organseg.networks.context_cache import ContextCache


class Extraction(NamedTuple):
    """What the heads read out of F_vl."""

    similarity: Tensor
    """float [B, 14]: cosine of F_t with organs 1 to 13, then with the nearest of C'."""
    presence_logits: Tensor
    """float [B, 13]: sigmoid gives the probability that the image shows the organ."""
    boxes: Tensor
    """float [B, 13, 4]: x1 y1 x2 y2, fractions of the image."""
    text_vector: Tensor
    """float [B, E]: F_t, of unit length."""


class AttentionBlock(nn.Module):
    """Pre-norm attention of queries to a memory, then a feed-forward layer."""

    def __init__(self, width: int, heads: int) -> None:
        """Builds the layers."""
        super().__init__()
        self.heads = heads
        self.norm_queries = nn.LayerNorm(width)
        self.norm_memory = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Float [B, Q, W] queries and [B, M, W] memory to [B, Q, W]."""
        query = self._split(self.query(self.norm_queries(queries)))
        key, value = self.key_value(self.norm_memory(memory)).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            query, self._split(key), self._split(value)
        )
        queries = queries + self.out(attended.transpose(1, 2).flatten(2))
        result: Tensor = queries + self.feed_forward(queries)
        return result

    def _split(self, states: Tensor) -> Tensor:
        batch, count, width = states.shape
        return states.view(batch, count, self.heads, width // self.heads).transpose(1, 2)


class SegmentInformationExtractor(nn.Module):
    """A box prompt and a presence logit for each of the 13 organs."""

    def __init__(self, size: ExtractorSize, states: VisionLanguageSize) -> None:
        """Builds the layers for a language model's states."""
        super().__init__()
        width = size.width
        self.read_patches = nn.Sequential(
            nn.LayerNorm(states.width), nn.Linear(states.width, width)
        )
        self.positions = nn.Parameter(0.02 * torch.randn(1, states.patches, width))
        self.read_prototype = nn.Linear(size.text_width, width)
        self.read_answer = nn.Sequential(nn.LayerNorm(states.width), nn.Linear(states.width, width))
        self.cross = nn.ModuleList(AttentionBlock(width, size.heads) for _ in range(size.depth))
        self.among = nn.ModuleList(AttentionBlock(width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(width)
        self.box = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.presence = nn.Linear(width, 1)

    def forward(
        self, answer_state: Tensor, patch_states: Tensor, prototypes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes and presence.

        Args:
            answer_state: float [B, D].
            patch_states: float [B, P, D].
            prototypes: float [13, E], the organs' rows of the context cache.

        Returns:
            boxes float [B, 13, 4] (x1 y1 x2 y2, fractions of the image) and presence logits
            float [B, 13].
        """
        memory = self.read_patches(patch_states) + self.positions
        queries = self.read_prototype(prototypes) + self.read_answer(answer_state).unsqueeze(1)
        for cross, among in zip(self.cross, self.among, strict=True):
            queries = cross(queries, memory)
            queries = among(queries, queries)
        states = self.norm(queries)
        center, extent = self.box(states).sigmoid().chunk(2, dim=-1)
        corners = torch.cat([center - extent / 2, center + extent / 2], dim=-1)
        return corners.clamp(0.0, 1.0), self.presence(states).squeeze(-1)


class InformationOfInterestExtractor(nn.Module):
    """F_t: what the question asks for, as a unit vector in the text encoder's space."""

    def __init__(self, size: ExtractorSize, states: VisionLanguageSize) -> None:
        """Builds the layers for a language model's states."""
        super().__init__()
        hidden = 2 * size.text_width
        self.layers = nn.Sequential(
            nn.LayerNorm(states.width),
            nn.Linear(states.width, hidden),
            nn.GELU(),
            nn.Linear(hidden, size.text_width),
        )

    def forward(self, answer_state: Tensor) -> Tensor:
        """Float [B, D] to float [B, E] of unit length."""
        return functional.normalize(self.layers(answer_state), dim=-1)


class Extractors(nn.Module):
    """Both heads with the context cache: the stage `extractors`."""

    organ_prototypes: Tensor
    irrelevant_prototypes: Tensor

    def __init__(
        self, size: ExtractorSize, states: VisionLanguageSize, cache: ContextCache
    ) -> None:
        """Builds both heads around a context cache."""
        super().__init__()
        self.segment_information = SegmentInformationExtractor(size, states)
        self.information_of_interest = InformationOfInterestExtractor(size, states)
        self.set_context_cache(cache)

    def set_context_cache(self, cache: ContextCache) -> None:
        """Puts another context cache in; the heads' weights stay."""
        weights = next(self.parameters())
        for name in ("organ_prototypes", "irrelevant_prototypes"):
            rows = torch.as_tensor(getattr(cache, name)).to(weights.device, weights.dtype)
            self.register_buffer(name, rows, persistent=False)

    def forward(self, answer_state: Tensor, patch_states: Tensor) -> Extraction:
        """Reads both heads.

        Args:
            answer_state: float [B, D].
            patch_states: float [B, P, D].
        """
        text_vector = self.information_of_interest(answer_state)
        to_organs = text_vector @ self.organ_prototypes.T
        to_irrelevant = (text_vector @ self.irrelevant_prototypes.T).amax(dim=-1, keepdim=True)
        boxes, presence_logits = self.segment_information(
            answer_state, patch_states, self.organ_prototypes
        )
        return Extraction(
            similarity=torch.cat([to_organs, to_irrelevant], dim=-1),
            presence_logits=presence_logits,
            boxes=boxes,
            text_vector=text_vector,
        )
