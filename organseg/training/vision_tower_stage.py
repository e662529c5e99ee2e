"""Stage 0 `vision-tower`: the tower learns what slices show, before it meets a language model.

Every published vision tower was taught alone first; so is the stand-in's. It is cheap: the
language model would take three quarters of a step. Organs, tissues and the level in the body are
read straight from the tower's features, by heads that are left behind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.data.phantom import Tissue
from organseg.networks.vision_language import VisionLanguage
from organseg.organs import ORGANS
from organseg.training.augment import resize_grey
from organseg.training.frozen import freeze, thaw
from organseg.training.loop import Batch, Stage
from organseg.training.losses import dice_of_classes, level_loss, tissue_loss
from organseg.training.options import VisionTowerOptions
from organseg.training.sampling import SliceSampler
from organseg.training.targets import LEVEL_UNIT_MM, cell_centers, lay_out_cells

_CELLS = 4
"""Cells of a feature, along each axis, whose organ and tissue are read from it."""
_WIDTH = 256
"""Channels of the heads."""
_CLASSES = len(ORGANS) + 1


class VisionTowerStage(Stage):
    """The vision tower of a LLaVA, with a head of its own to read its features."""

    name = "vision-tower"

    def __init__(
        self,
        vision_language: VisionLanguage,
        training: SliceSampler,
        validation: SliceSampler,
        options: VisionTowerOptions,
        *,
        validation_slices: int = 96,
    ) -> None:
        """Takes the model as it is; its tower alone learns."""
        super().__init__()
        freeze(vision_language)
        self.vision_language = vision_language
        self.tower = vision_language.vision_tower
        thaw(self.tower)
        width = self.tower.config.hidden_size
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _WIDTH), nn.GELU())
        self.organs = nn.Linear(_WIDTH, _CELLS**2 * _CLASSES)
        self.tissues = nn.Linear(_WIDTH, _CELLS**2 * len(Tissue))
        self.level = nn.Linear(_WIDTH, 1)
        self.options = options
        self._training, self._validation = training, validation
        self._validation_slices = validation_slices

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Slices with the organ and the tissue in the middle of every cell."""
        images, labels, tissues, levels = self._training.draw(batch, rng)
        return {
            "pixels": resize_grey(images, self.vision_language.size.image_size),
            "organs": cell_centers(labels, self._side),
            "tissues": cell_centers(tissues, self._side),
            "levels": levels / LEVEL_UNIT_MM,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and Dice of organs, cross-entropy of tissues, error of the level."""
        options = self.options
        read = self.read(self.vision_language.tower_features(batch["pixels"]))
        organs = lay_out_cells(self.organs(read), _CELLS)
        level = self.level(read.mean(dim=1)).squeeze(-1)
        return {
            "organ": options.organ_weight
            * functional.cross_entropy(organs.float(), batch["organs"]),
            "dice": dice_of_classes(organs, batch["organs"]),
            "tissue": options.tissue_weight
            * tissue_loss(lay_out_cells(self.tissues(read), _CELLS), batch["tissues"]),
            "level": options.level_weight * level_loss(level, batch["levels"]),
        }

    def validate(self, device: torch.device) -> dict[str, float]:
        """Dice of each organ over the cells of all validation slices together."""
        rows = self._validation.spread(self._validation_slices)
        overlap, total = torch.zeros(_CLASSES), torch.zeros(_CLASSES)
        for start in range(0, len(rows), 8):
            images, labels = self._validation.read(rows[start : start + 8])
            pixels = resize_grey(images, self.vision_language.size.image_size).to(device)
            read = self.read(self.vision_language.tower_features(pixels))
            found = lay_out_cells(self.organs(read), _CELLS).argmax(dim=1).cpu()
            true = cell_centers(labels, self._side)
            for index in range(_CLASSES):
                overlap[index] += ((found == index) & (true == index)).sum()
                total[index] += (found == index).sum() + (true == index).sum()
        dice = (2.0 * overlap / total.clamp(min=1.0))[1:]
        named = {
            f"dice_{organ.key}": float(value) for organ, value in zip(ORGANS, dice, strict=True)
        }
        return {"score": float(dice.mean()), **named}

    @property
    def _side(self) -> int:
        return _CELLS * self.vision_language.size.grid
