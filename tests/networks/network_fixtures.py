"""Small sizes and seeded pictures for the tests of the networks."""

from __future__ import annotations

from functools import lru_cache

import torch

from organseg.contract import TINY
from organseg.networks.build import build_organ_seg
from organseg.networks.organ_seg import OrganSeg


@lru_cache(maxsize=1)
def untrained() -> OrganSeg:
    """The tiny preset with seeded random weights, built once; do not change it."""
    # Also where the first to ask is in inference mode: such weights would take no gradients.
    with torch.inference_mode(False):
        return build_organ_seg(TINY, seed=0)


def grey_levels(batch: int, side: int, seed: int = 0) -> torch.Tensor:
    """Seeded uint8 [B, side, side] pictures with blocks of different grey."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (batch, 1, 8, 8), generator=generator).float()
    smooth = torch.nn.functional.interpolate(blocks, size=(side, side), mode="bilinear")
    return smooth[:, 0].to(torch.uint8)


def boxes(batch: int, prompts: int, seed: int = 0) -> torch.Tensor:
    """Seeded float32 [B, K, 4] boxes, fractions of the image."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand((batch, prompts, 2, 2), generator=generator).sort(dim=2).values
    return corners.flatten(2)
