"""The losses: the paper's two, and the named additions beyond it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CELL_BALANCE = 8.0
"""Weight of the cells' cross-entropy, which is small since most cells belong to no organ."""

_GAP = 0.1
"""The margin that `gap_loss` teaches, in cosine; calibration chooses the one that is used."""
_GAP_SOFTNESS = 0.03
"""Cosine over which that margin is blurred."""


def dice_loss(mask_logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """L2: one minus soft Dice, averaged by `weights`.

    Args:
        mask_logits: float [B, K, h, w].
        masks: float [B, K, h, w], 0 to 1.
        weights: float [B, K], 0 where there is nothing to compare.
    """
    probability = mask_logits.float().sigmoid()
    overlap = (probability * masks).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + masks.sum(dim=(-2, -1))
    return weighted_mean(1.0 - (2.0 * overlap + 1.0) / (total + 1.0), weights)


def dice_of_classes(logits: Tensor, classes: Tensor) -> Tensor:
    """One minus soft Dice of each class that an image shows, but the first, the background.

    Args:
        logits: float [B, K, A, A].
        classes: int64 [B, A, A].
    """
    probability = logits.float().softmax(dim=1)[:, 1:]
    masks = functional.one_hot(classes, logits.shape[1]).movedim(-1, 1)[:, 1:].float()
    overlap = (probability * masks).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + masks.sum(dim=(-2, -1))
    shown = masks.flatten(2).any(dim=-1).float()
    return weighted_mean(1.0 - (2.0 * overlap + 1.0) / (total + 1.0), shown)


def mask_cross_entropy(mask_logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of mask pixels; shapes as `dice_loss`."""
    loss = functional.binary_cross_entropy_with_logits(mask_logits.float(), masks, reduction="none")
    return weighted_mean(loss.mean(dim=(-2, -1)), weights)


def near_box_cross_entropy(
    mask_logits: Tensor, masks: Tensor, boxes: Tensor, weights: Tensor
) -> Tensor:
    """Binary cross-entropy, half over the pixels in and around the box, half over the others.

    Over the whole image, an adrenal gland would be a thousandth of the loss. `boxes` is float
    [B, K, 4], fractions of the image; the other shapes are as `dice_loss`'s.
    """
    side = mask_logits.shape[-1]
    centers = (torch.arange(side, device=boxes.device) + 0.5) / side
    margin = 0.2 * (boxes[..., 2:] - boxes[..., :2]) + 1.0 / side
    low, high = (boxes[..., :2] - margin).unsqueeze(-1), (boxes[..., 2:] + margin).unsqueeze(-1)
    inside = (centers >= low) & (centers <= high)
    near = (inside[..., 1, :].unsqueeze(-1) & inside[..., 0, :].unsqueeze(-2)).float()
    loss = functional.binary_cross_entropy_with_logits(mask_logits.float(), masks, reduction="none")
    parts = [
        (loss * part).sum(dim=(-2, -1)) / part.sum(dim=(-2, -1)).clamp(min=1.0)
        for part in (near, 1.0 - near)
    ]
    return weighted_mean((parts[0] + parts[1]) / 2.0, weights)


def quality_loss(quality: Tensor, mask_logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Squared error of the predicted IoU, float [B, K], against the drawn mask's own."""
    drawn, true = mask_logits.detach() > 0.0, masks > 0.5
    union = (drawn | true).sum(dim=(-2, -1)).clamp(min=1)
    iou = (drawn & true).sum(dim=(-2, -1)) / union
    return weighted_mean((quality.float() - iou) ** 2, weights)


def answer_loss(similarity: Tensor, asked: Tensor, temperature: float) -> Tensor:
    """L1: cross-entropy over the 14 classes on the similarities that serving uses.

    Args:
        similarity: float [N, 14] cosines.
        asked: bool [N, 14], the right answers; with several, each is to be equally likely.
        temperature: what the cosines are divided by.

    Returns:
        The mean over texts; zero, still with a gradient path, where there is none.
    """
    logarithms = (similarity.float() / temperature).log_softmax(dim=-1)
    counts = asked.sum(dim=-1).clamp(min=1)
    # Against the even distribution over the right answers: with one, plain cross-entropy.
    losses = -(logarithms * asked).sum(dim=-1).div(counts)
    return losses.sum() / max(len(losses), 1)


def gap_loss(similarity: Tensor, asked: Tensor) -> Tensor:
    """How well the gap to the nearest organ tells the asked organs from the others.

    The gate takes every organ within a margin of the nearest one. Here each organ's gap is held
    against a margin of its own, by binary cross-entropy: asked organs within, others beyond.

    Args:
        similarity: float [N, 14] cosines.
        asked: bool [N, 14], the right answers; rows that ask for no organ do not count.
    """
    organs, wanted = similarity.float()[:, :-1], asked[:, :-1]
    behind = organs.amax(dim=-1, keepdim=True) - organs
    losses = functional.binary_cross_entropy_with_logits(
        (_GAP - behind) / _GAP_SOFTNESS, wanted.float(), reduction="none"
    ).sum(dim=-1)
    return weighted_mean(losses, wanted.any(dim=-1).float())


def distillation_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine to the text encoder's unit vectors, both float [N, E].

    Rows whose target is zero were not embedded, and do not count.
    """
    distance = 1.0 - functional.cosine_similarity(vectors.float(), targets, dim=-1)
    return weighted_mean(distance, targets.any(dim=-1).float())


def attention_loss(logits: Tensor, masks: Tensor, present: Tensor) -> Tensor:
    """How well the organs' queries claim the cells that their organs cover.

    Dice of the organs that are shown, and binary cross-entropy of all, so that an organ that is
    not shown claims nothing.

    Args:
        logits: float [B, 13, A, A], `Places.attention_logits`.
        masks: float [B, 13, A, A], the share of each cell that the organ covers.
        present: bool [B, 13].
    """
    cells = functional.binary_cross_entropy_with_logits(logits.float(), masks)
    return dice_loss(logits, masks, present.float()) + _CELL_BALANCE * cells


def tissue_loss(logits: Tensor, tissues: Tensor) -> Tensor:
    """Cross-entropy of the tissue of every cell; zero for slices whose tissues are not known.

    Args:
        logits: float [B, T, A, A].
        tissues: int64 [B, A, A].
    """
    known = tissues.flatten(1).any(dim=-1).float()
    loss = functional.cross_entropy(logits.float(), tissues, reduction="none")
    return weighted_mean(loss.mean(dim=(-2, -1)), known)


def level_loss(levels: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1 of the slice's level, both float [B]; NaN targets do not count."""
    known = ~targets.isnan()
    loss = functional.smooth_l1_loss(
        levels.float(), targets.nan_to_num(), reduction="none", beta=0.1
    )
    return weighted_mean(loss, known.float())


def presence_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Binary cross-entropy of presence, float [B, 13] against bool [B, 13]."""
    return functional.binary_cross_entropy_with_logits(logits.float(), present.float())


def box_loss(boxes: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """L1 of the edges and one minus generalised IoU (Rezatofighi et al. 2019).

    Args:
        boxes: float [..., 4], x1 y1 x2 y2 as fractions of the image.
        targets: the same.
        weights: float [...], 0 where the organ is absent.
    """
    boxes = boxes.float()
    edges = (boxes - targets).abs().sum(dim=-1)
    return weighted_mean(2.0 * edges + 1.0 - generalised_iou(boxes, targets), weights)


def generalised_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Generalised IoU of boxes float [..., 4], -1 to 1."""
    low = torch.maximum(boxes[..., :2], targets[..., :2])
    high = torch.minimum(boxes[..., 2:], targets[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(boxes) + _area(targets) - overlap
    hull_low = torch.minimum(boxes[..., :2], targets[..., :2])
    hull_high = torch.maximum(boxes[..., 2:], targets[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(dim=-1)
    return overlap / union.clamp(min=1e-7) - (hull - union) / hull.clamp(min=1e-7)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean by weights; zero, still with a gradient path, where all weights are zero."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
