"""Stage 0 `segmenter`: the small SAM learns masks from jittered boxes on phantom slices.

Four boxes say little about an image, so its embedding is also asked for the organ and the tissue
of every cell, by heads that are left behind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.data.phantom import Tissue
from organseg.networks.segmenter import Segmenter
from organseg.organs import ORGANS
from organseg.training.augment import resize_grey
from organseg.training.loop import Batch, Stage
from organseg.training.losses import (
    dice_loss,
    dice_of_classes,
    near_box_cross_entropy,
    quality_loss,
    tissue_loss,
)
from organseg.training.options import SegmenterOptions
from organseg.training.sampling import SliceSampler
from organseg.training.targets import (
    PlaceTargets,
    cell_centers,
    chosen_masks,
    organ_masks,
    place_targets,
)

_VALIDATION_BATCH = 8
_CELLS = 2
"""Cells of a patch, along each axis, whose organ and tissue are read from the embedding."""
_CLASSES = len(ORGANS) + 1


class SegmenterStage(Stage):
    """SAM from scratch: the image is encoded once, several boxes are decoded."""

    name = "segmenter"

    def __init__(
        self,
        segmenter: Segmenter,
        training: SliceSampler,
        validation: SliceSampler,
        options: SegmenterOptions,
        *,
        validation_slices: int = 64,
    ) -> None:
        """Takes the segmenter as it is; all of it learns."""
        super().__init__()
        self.segmenter = segmenter
        self.read = nn.Conv2d(segmenter.size.channels, _CELLS**2 * (_CLASSES + len(Tissue)), 1)
        self.options = options
        self._training, self._validation = training, validation
        self._validation_slices = validation_slices

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Slices, and boxes with errors around organs that they show."""
        images, labels, tissues, _ = self._training.draw(batch, rng)
        places = place_targets(labels)
        organs, boxes, weights = choose_boxes(places, self.options.boxes, rng)
        size = self.segmenter.size
        side = _CELLS * size.grid
        return {
            "pixels": resize_grey(images, size.image_size),
            "boxes": jitter_boxes(boxes, self.options.jitter, rng),
            "masks": chosen_masks(labels, organs, size.mask_size),
            "weights": weights,
            "organs": cell_centers(labels, side),
            "tissues": cell_centers(tissues, side),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """BCE and Dice of the masks, squared error of the predicted IoU, what cells show."""
        embeddings = self.segmenter.encode_image(batch["pixels"])
        logits, quality = self.segmenter.decode_masks(embeddings, batch["boxes"])
        masks, weights = batch["masks"], batch["weights"]
        cells = functional.pixel_shuffle(self.read(embeddings), _CELLS)
        organs, tissues = cells[:, :_CLASSES], cells[:, _CLASSES:]
        organ = 2.0 * functional.cross_entropy(organs.float(), batch["organs"])
        organ = organ + dice_of_classes(organs, batch["organs"])
        return {
            "dice": dice_loss(logits, masks, weights),
            "mask": 2.0 * near_box_cross_entropy(logits, masks, batch["boxes"], weights),
            "quality": self.options.quality_weight * quality_loss(quality, logits, masks, weights),
            "organ": self.options.organ_weight * organ,
            "tissue": self.options.tissue_weight * tissue_loss(tissues, batch["tissues"]),
        }

    def validate(self, device: torch.device) -> dict[str, float]:
        """Dice of each organ from its true box, at the decoder's resolution."""
        rows = self._validation.spread(self._validation_slices)
        scores: list[list[float]] = [[] for _ in ORGANS]
        for start in range(0, len(rows), _VALIDATION_BATCH):
            images, labels = self._validation.read(rows[start : start + _VALIDATION_BATCH])
            for index, dice in oracle_dice(self.segmenter, images, labels, device):
                scores[index].append(dice)
        means = {
            f"dice_{organ.key}": float(np.mean(values)) if values else 0.0
            for organ, values in zip(ORGANS, scores, strict=True)
        }
        shown = [float(np.mean(values)) for values in scores if values]
        return {"score": float(np.mean(shown)) if shown else 0.0, **means}


@torch.no_grad()
def oracle_dice(
    segmenter: Segmenter, images: Tensor, labels: Tensor, device: torch.device
) -> list[tuple[int, float]]:
    """(organ index, Dice at the labels' resolution) of every organ shown, from its true box."""
    places = place_targets(labels)
    pixels = resize_grey(images, segmenter.size.image_size).to(device)
    embeddings = segmenter.encode_image(pixels)
    found: list[tuple[int, float]] = []
    for row in range(len(images)):
        shown = places.present[row].nonzero()[:, 0]
        if not len(shown):
            continue
        logits, _ = segmenter.decode_masks(
            embeddings[row : row + 1], places.boxes[row : row + 1, shown].to(device)
        )
        full = torch.nn.functional.interpolate(
            logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False
        )
        drawn = full[0].cpu() > 0.0
        true = organ_masks(labels[row : row + 1])[0, shown]
        overlap = 2.0 * (drawn & true).sum(dim=(-2, -1))
        dice = overlap / (drawn.sum(dim=(-2, -1)) + true.sum(dim=(-2, -1)))
        found += [(int(index), float(value)) for index, value in zip(shown, dice, strict=True)]
    return found


def choose_boxes(
    places: PlaceTargets, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """`count` organs of each image among those it shows.

    Returns:
        organ ids int64 [B, K] (0 where the image shows too few), boxes float32 [B, K, 4] and
        weights float32 [B, K].
    """
    batch = len(places.present)
    organs = torch.zeros((batch, count), dtype=torch.long)
    boxes = torch.tensor([0.25, 0.25, 0.75, 0.75]).repeat(batch, count, 1)
    for row in range(batch):
        shown = places.present[row].nonzero()[:, 0].numpy()
        for column, index in enumerate(rng.permutation(shown)[:count]):
            organs[row, column] = int(index) + 1
            boxes[row, column] = places.boxes[row, int(index)]
    return organs, boxes, (organs > 0).float()


def jitter_boxes(boxes: Tensor, jitter: float, rng: np.random.Generator) -> Tensor:
    """Boxes with errors of each edge, from nearly none to gross ones, each box of its own.

    The largest errors are twice the share `jitter` of the side and two hundredths of the image:
    what a box that the extractor predicts may be off by.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    errors = rng.uniform(-1, 1, boxes.shape) * rng.uniform(0, 2, (*boxes.shape[:-1], 1))
    moved = boxes + torch.from_numpy(errors.astype(np.float32)) * (jitter * sides + 0.01)
    moved = moved.clamp(0.0, 1.0)
    low = torch.minimum(moved[..., :2], moved[..., 2:])
    high = torch.maximum(moved[..., :2], moved[..., 2:])
    return torch.cat([low, high], dim=-1)
