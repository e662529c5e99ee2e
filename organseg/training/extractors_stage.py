"""Stage 1 `extractors`: the paper. LoRA and the two extractors learn, all else is frozen.

L1 is the cross-entropy of the 14 classes on the cosines that serving uses; L2 the Dice of the
mask that the frozen prompt encoder and decoder draw from the predicted box. What goes beyond
the paper has a weight of its own in `ExtractorsOptions`; `paper` switches all of it off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from organseg.networks.lora import add_lora
from organseg.networks.organ_seg import OrganSeg
from organseg.training.augment import resize_grey
from organseg.training.figures import question_similarity, validation_figures
from organseg.training.frozen import freeze, thaw
from organseg.training.loop import Batch, Stage
from organseg.training.losses import (
    answer_loss,
    attention_loss,
    box_loss,
    dice_loss,
    distillation_loss,
    gap_loss,
    mask_cross_entropy,
    presence_loss,
)
from organseg.training.options import ExtractorsOptions
from organseg.training.packing import ask_together
from organseg.training.sampling import SliceSampler
from organseg.training.segmenter_stage import choose_boxes
from organseg.training.sentences import QuestionBank
from organseg.training.targets import chosen_masks, covered_cells, place_targets


def paper_options(options: ExtractorsOptions) -> ExtractorsOptions:
    """The options with every addition beyond the paper switched off, where `paper` asks for it."""
    if not options.paper:
        return options
    return replace(
        options,
        box_weight=0.0,
        presence_weight=0.0,
        mask_weight=0.0,
        attention_weight=0.0,
        several_weight=0.0,
        gap_weight=0.0,
        distill_weight=0.0,
        composed=0.0,
        typos=0.0,
        kept=1.0,
    )


def part_way(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights that keep a share of what was learned between them.

    As in Wortsman et al. 2022, "Robust fine-tuning of zero-shot models". An adapter's second
    factor begins at zero, so scaling it alone scales what the adapter adds.
    """
    return {
        name: weight if ".lora_A." in name else torch.lerp(before[name], weight, share)
        for name, weight in after.items()
    }


class ExtractorsStage(Stage):
    """The paper's fine-tuning on a frozen LLaVA and a frozen MedSAM."""

    name = "extractors"

    def __init__(
        self,
        organ_seg: OrganSeg,
        training: SliceSampler,
        validation: SliceSampler,
        bank: QuestionBank,
        options: ExtractorsOptions,
        *,
        temperature: float,
        validation_slices: int = 96,
    ) -> None:
        """Freezes everything, then adds the adapters and thaws the extractors."""
        super().__init__()
        self.options = paper_options(options)
        freeze(organ_seg)
        model = organ_seg.vision_language
        model.llava = add_lora(
            cast(LlavaForConditionalGeneration, model.llava),
            rank=options.lora_rank,
            alpha=options.lora_alpha,
        )
        thaw(organ_seg.extractors)
        self.organ_seg = organ_seg
        self.temperature = temperature
        self._training, self._validation, self._bank = training, validation, bank
        self._validation_slices = validation_slices

    def train(self, mode: bool = True) -> ExtractorsStage:
        """Training or evaluation mode; what is frozen keeps its running statistics."""
        super().train(mode)
        self.organ_seg.vision_language.vision_tower.eval()
        return self

    def rate_of(self, weight_name: str) -> float:
        """The heads' rate relative to the adapters'."""
        return 1.0 if "lora_" in weight_name else self.options.small_learning_rate

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Slices, organs that they show, and questions, which need not be about them."""
        options = self.options
        images, labels, _, _ = self._training.draw(batch, rng)
        places = place_targets(labels)
        organs, _, weights = choose_boxes(places, options.organs, rng)
        further = self._bank.draw(
            batch * options.questions,
            rng,
            typos=options.typos,
            composed=options.composed,
            distilled=0.1 if options.distill_weight else 0.0,
        )
        texts = [
            list(further.texts[row * options.questions : (row + 1) * options.questions])
            for row in range(batch)
        ]
        return {
            "images": images,
            "labels": labels,
            "organs": organs,
            "weights": weights,
            "present": places.present,
            "boxes": places.boxes,
            "texts": texts,
            "asked": further.asked,
            "vectors": further.vectors,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """L1, L2 and the additions that are switched on."""
        options, parts = self.options, self.organ_seg
        vlm_pixels = resize_grey(batch["images"], parts.preset.vision_language.image_size)
        features = parts.vision_language.image_features(vlm_pixels)
        answers, patches = ask_together(parts.vision_language, features, batch["texts"])
        heads = parts.extractors
        states = answers.flatten(0, 1)
        asked = batch["asked"]
        counts = asked.sum(dim=-1)
        single, several = counts == 1, counts > 1
        similarity = question_similarity(heads, states)
        losses = {"answer": answer_loss(similarity[single], asked[single], self.temperature)}
        if options.several_weight and bool(several.any()):
            losses["several"] = options.several_weight * answer_loss(
                similarity[several], asked[several], self.temperature
            )
        if options.gap_weight:
            losses["gap"] = options.gap_weight * gap_loss(similarity, asked)
        if options.distill_weight:
            plain = counts == 0
            if bool(plain.any()):
                vectors = heads.information_of_interest(states[plain])
                losses["distill"] = options.distill_weight * distillation_loss(
                    vectors, batch["vectors"][plain]
                )
        places = heads.segment_information(answers[:, 0], patches, heads.organ_prototypes)
        boxes, presence = places.boxes, places.presence_logits
        present = batch["present"]
        losses |= self._mask_losses(batch, boxes)
        if options.attention_weight:
            logits = places.attention_logits
            cells = covered_cells(batch["labels"], logits.shape[-1])
            losses["attention"] = options.attention_weight * attention_loss(logits, cells, present)
        if options.box_weight:
            losses["box"] = options.box_weight * box_loss(boxes, batch["boxes"], present.float())
        if options.presence_weight:
            losses["presence"] = options.presence_weight * presence_loss(presence, present)
        return losses

    def _mask_losses(self, batch: Batch, boxes: Tensor) -> dict[str, Tensor]:
        options, segmenter = self.options, self.organ_seg.segmenter
        organs, weights = batch["organs"], batch["weights"]
        if not (options.dice_weight or options.mask_weight):
            return {}
        sam_pixels = resize_grey(batch["images"], segmenter.size.image_size)
        with torch.no_grad():
            embeddings = segmenter.encode_image(sam_pixels)
        index = (organs - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, 4)
        logits, _ = segmenter.decode_masks(embeddings, boxes.gather(1, index))
        masks = chosen_masks(batch["labels"], organs, segmenter.size.mask_size)
        losses = {"dice": options.dice_weight * dice_loss(logits, masks, weights)}
        if options.mask_weight:
            losses["mask"] = options.mask_weight * mask_cross_entropy(logits, masks, weights)
        return losses

    def validate(self, device: torch.device) -> dict[str, float]:
        """Box IoU, presence AUC, and organ choice on questions held apart."""
        return validation_figures(
            self.organ_seg.vision_language,
            self.organ_seg.extractors,
            self._validation,
            self._bank,
            device,
            slices=self._validation_slices,
        )
