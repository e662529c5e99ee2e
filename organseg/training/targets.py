"""From label maps to what the losses compare with: presence, boxes, low-resolution masks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from organseg.organs import ORGANS

LEVEL_UNIT_MM = 100.0
"""Levels are learned in decimetres."""
LEAST_PIXELS = 6
"""Pixels from which an organ counts as shown; fewer are noise of resampling."""


class PlaceTargets(NamedTuple):
    """Where every organ is on every image."""

    present: Tensor
    """bool [B, 13]."""
    boxes: Tensor
    """float32 [B, 13, 4], x1 y1 x2 y2 as fractions of the image; zeros where absent."""


def place_targets(labels: Tensor) -> PlaceTargets:
    """Presence and tight boxes (pixel edges) from uint8 [B, H, W] organ ids."""
    masks = organ_masks(labels)
    present = masks.sum(dim=(-2, -1)) >= LEAST_PIXELS
    sides = []
    for axis in (-2, -1):
        line = masks.any(dim=axis)
        length = line.shape[-1]
        first = line.to(torch.uint8).argmax(dim=-1)
        last = length - line.flip(-1).to(torch.uint8).argmax(dim=-1)
        sides.append((first / length, last / length))
    (x1, x2), (y1, y2) = sides
    boxes = torch.stack([x1, y1, x2, y2], dim=-1).float()
    return PlaceTargets(present, boxes * present.unsqueeze(-1))


def organ_masks(labels: Tensor) -> Tensor:
    """Bool [B, 13, H, W] from uint8 [B, H, W] organ ids."""
    ids = torch.tensor([organ.id for organ in ORGANS], device=labels.device, dtype=labels.dtype)
    return labels.unsqueeze(1) == ids.view(1, -1, 1, 1)


def covered_cells(labels: Tensor, side: int) -> Tensor:
    """Float32 [B, 13, side, side]: the share of each cell that each organ covers."""
    return functional.adaptive_avg_pool2d(organ_masks(labels).float(), side)


def chosen_masks(labels: Tensor, organs: Tensor, side: int) -> Tensor:
    """Soft masks of chosen organs at the decoder's resolution.

    Args:
        labels: uint8 [B, H, W].
        organs: int64 [B, K], organ ids.
        side: rows and columns of the result.

    Returns:
        float32 [B, K, side, side], each pixel the share that the organ covers.
    """
    full = (labels.unsqueeze(1) == organs.unsqueeze(-1).unsqueeze(-1)).float()
    return functional.adaptive_avg_pool2d(full, side)


def cell_centers(tissues: Tensor, side: int) -> Tensor:
    """Int64 [B, side, side]: the tissue at the middle of every cell of uint8 [B, H, W]."""
    middles = torch.arange(side) * tissues.shape[-1] // side + tissues.shape[-1] // (2 * side)
    return tissues[:, middles][:, :, middles].long()


def lay_out_cells(read: Tensor, cells: int) -> Tensor:
    """What is read from each patch for its cells, as one picture: the twin of `cell_centers`.

    Args:
        read: float [B, P, K * cells * cells], P patches row by row.
        cells: cells of a patch along each axis.

    Returns:
        float [B, K, A, A], where A = cells * sqrt(P).
    """
    grid = math.isqrt(read.shape[1])
    patches = read.transpose(1, 2).reshape(len(read), -1, grid, grid)
    return functional.pixel_shuffle(patches, cells)
