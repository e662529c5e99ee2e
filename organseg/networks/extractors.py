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


_FIRST_BIAS = -4.0
"""Where an untrained query's claims begin: a cell belongs to an organ once in fifty times."""
_CERTAIN = 3.0
"""The logit that the strongest claim is raised to before a box is read from it."""


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


class Places(NamedTuple):
    """Where the Segment Information Extractor finds the organs."""

    boxes: Tensor
    """float [B, 13, 4]: x1 y1 x2 y2, fractions of the image."""
    presence_logits: Tensor
    """float [B, 13]."""
    attention_logits: Tensor
    """float [B, 13, A, A]: how much of each cell of the image the organ's query claims, before
    the sigmoid; only training looks at it."""


class SegmentInformationExtractor(nn.Module):
    """A box prompt and a presence logit for each of the 13 organs.

    Every organ's query ends as a kernel over the patch states, each of which is spread over
    `cells` x `cells` cells. The box is read from the outline of what the kernel claims: its
    largest logit in every column gives the left and right edges, in every row the others. So a
    box is learned from where the organ is, not as four numbers out of the blue.
    """

    outward: Tensor

    def __init__(self, size: ExtractorSize, states: VisionLanguageSize) -> None:
        """Builds the layers for a language model's states."""
        super().__init__()
        width = size.width
        self.cells, self.grid = size.cells, states.grid
        self.read_patches = nn.Sequential(
            nn.LayerNorm(states.width), nn.Linear(states.width, width)
        )
        self.positions = nn.Parameter(0.02 * torch.randn(1, states.patches, width))
        self.read_prototype = nn.Linear(size.text_width, width)
        self.read_answer = nn.Sequential(nn.LayerNorm(states.width), nn.Linear(states.width, width))
        self.cross = nn.ModuleList(AttentionBlock(width, size.heads) for _ in range(size.depth))
        self.among = nn.ModuleList(AttentionBlock(width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, size.cells**2 * size.kernel),
        )
        self.kernel = nn.Linear(width, size.kernel + 1)
        nn.init.constant_(self.kernel.bias[-1:], _FIRST_BIAS)
        self.presence = nn.Sequential(
            nn.Linear(width + 2, width // 2), nn.GELU(), nn.Linear(width // 2, 1)
        )
        side = self.grid * size.cells
        # outward[i, j] = 1 for i <= j: a product of the cells up to j, as a sum of logarithms.
        self.register_buffer("outward", torch.ones(side, side).triu(), persistent=False)

    def forward(self, answer_state: Tensor, patch_states: Tensor, prototypes: Tensor) -> Places:
        """Boxes and presence.

        Args:
            answer_state: float [B, D].
            patch_states: float [B, P, D].
            prototypes: float [13, E], the organs' rows of the context cache.
        """
        memory = self.read_patches(patch_states) + self.positions
        queries = self.read_prototype(prototypes) + self.read_answer(answer_state).unsqueeze(1)
        for cross, among in zip(self.cross, self.among, strict=True):
            queries = cross(queries, memory)
            queries = among(queries, queries)
        states = self.norm(queries)
        logits = self._attend(states, memory)
        strongest = logits.amax(dim=(-2, -1))
        claimed = logits.sigmoid().mean(dim=(-2, -1))
        seen = torch.stack([strongest / 5.0, (claimed + 1e-4).log() / 5.0], dim=-1)
        presence = self.presence(torch.cat([states, seen.to(states.dtype)], dim=-1))
        return Places(self._outline(logits, strongest), presence.squeeze(-1), logits)

    def _attend(self, states: Tensor, memory: Tensor) -> Tensor:
        """Float [B, 13, A, A] claims of the cells, by row and column."""
        grid, cells = self.grid, self.cells
        spread = self.spread(memory).unflatten(-1, (cells * cells, -1))
        kernels, bias = self.kernel(states).split([spread.shape[-1], 1], dim=-1)
        claims = spread.flatten(1, 2) @ kernels.transpose(1, 2) / spread.shape[-1] ** 0.5
        claims = claims.transpose(1, 2) + bias
        claims = claims.unflatten(2, (grid, grid, cells, cells)).transpose(3, 4)
        laid_out: Tensor = claims.flatten(4, 5).flatten(2, 3).float()
        return laid_out

    def _outline(self, logits: Tensor, strongest: Tensor) -> Tensor:
        """Float [B, 13, 4] edges of what is claimed.

        The expected number of cells before the first claimed one, from each side: the sum over j
        of the probability that no cell up to j is claimed. Where nothing is claimed for certain
        the logits are raised, so that the likeliest place still gives a box.
        """
        raised = (_CERTAIN - strongest).clamp(min=0.0).unsqueeze(-1)
        lines = torch.stack([logits.amax(dim=-2), logits.amax(dim=-1)], dim=2)
        # Log of 1 - sigmoid. `logsigmoid` is exported as Log(Sigmoid), which is -inf from 17 on.
        free = -functional.softplus(lines + raised.unsqueeze(2)).unsqueeze(-1)
        side = free.shape[-2]
        # Multiplied and summed, not a matrix product: autocast would round that to bfloat16.
        low = (free * self.outward).sum(dim=-2).exp().sum(dim=-1) / side
        high = 1.0 - (free * self.outward.T).sum(dim=-2).exp().sum(dim=-1) / side
        return torch.cat([torch.minimum(low, high), torch.maximum(low, high)], dim=-1)


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

    def compare(self, text_vector: Tensor) -> Tensor:
        """Cosines of F_t, unit vectors float [B, E], with the context cache: float [B, 14]."""
        to_organs = text_vector @ self.organ_prototypes.T
        to_irrelevant = (text_vector @ self.irrelevant_prototypes.T).amax(dim=-1, keepdim=True)
        return torch.cat([to_organs, to_irrelevant], dim=-1)

    def forward(self, answer_state: Tensor, patch_states: Tensor) -> Extraction:
        """Reads both heads.

        Args:
            answer_state: float [B, D].
            patch_states: float [B, P, D].
        """
        text_vector = self.information_of_interest(answer_state)
        places = self.segment_information(answer_state, patch_states, self.organ_prototypes)
        return Extraction(
            similarity=self.compare(text_vector),
            presence_logits=places.presence_logits,
            boxes=places.boxes,
            text_vector=text_vector,
        )
