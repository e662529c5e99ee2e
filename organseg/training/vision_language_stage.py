"""Stage 0 `vision-language`: tower and language model learn to work together.

Three passes make one step. Images alone teach that patch states know where organs are: under a
causal mask they never depend on the question, so most images need none. Texts alone keep what
the language model knows. A few images with questions teach that an answer state behind image
tokens names what was asked for.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from organseg.data.phantom import Tissue
from organseg.data.questions.explanations import load_explanations
from organseg.networks.extractors import Extractors
from organseg.networks.vision_language import VisionLanguage
from organseg.training.augment import resize_grey
from organseg.training.explaining import explained_answers, explanation_loss
from organseg.training.figures import question_similarity, validation_figures
from organseg.training.frozen import thaw
from organseg.training.language_stage import (
    QUESTIONS_OF_A_ROW,
    EncoderTeacher,
    rows_of,
    whole_rows,
)
from organseg.training.loop import Batch, Stage
from organseg.training.losses import (
    answer_loss,
    attention_loss,
    box_loss,
    gap_loss,
    level_loss,
    presence_loss,
    tissue_loss,
)
from organseg.training.options import VisionLanguageOptions
from organseg.training.packing import ask_together, look
from organseg.training.sampling import SliceSampler
from organseg.training.sentences import QuestionBank
from organseg.training.targets import (
    LEVEL_UNIT_MM,
    cell_centers,
    covered_cells,
    lay_out_cells,
    place_targets,
)

_TISSUE_CELLS = 2
"""Cells of a patch, along each axis, whose tissue is read from its state."""


class VisionLanguageStage(Stage):
    """A whole LLaVA, with the extractors as its teachers' mouthpiece."""

    name = "vision-language"

    def __init__(
        self,
        vision_language: VisionLanguage,
        extractors: Extractors,
        training: SliceSampler,
        validation: SliceSampler,
        bank: QuestionBank,
        options: VisionLanguageOptions,
        *,
        temperature: float,
        validation_slices: int = 96,
    ) -> None:
        """Takes the model as it is; all of it learns."""
        super().__init__()
        self.vision_language, self.extractors = vision_language, extractors
        thaw(vision_language, extractors)
        size = vision_language.size
        # Teachers that are left behind when the stage is over.
        self.teacher = EncoderTeacher(vision_language, extractors)
        self.tissues = nn.Linear(size.width, len(Tissue) * _TISSUE_CELLS**2)
        self.level = nn.Linear(size.width, 1)
        self.options, self.temperature = options, temperature
        self._training, self._validation, self._bank = training, validation, bank
        self._validation_slices = validation_slices
        self._explanations = load_explanations()

    def rate_of(self, weight_name: str) -> float:
        """The tower's rate relative to all others'."""
        return self.options.tower_learning_rate if ".vision_tower." in weight_name else 1.0

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Slices, questions about the first of them, and rows of text alone."""
        options = self.options
        images, labels, tissues, levels = self._training.draw(batch, rng)
        places = place_targets(labels)
        asked = min(options.asked_images, batch)
        texts = self._bank.draw(
            asked * options.questions + whole_rows(options.text_batch),
            rng,
            typos=options.typos,
            composed=options.composed,
            distilled=options.distilled,
        )
        behind = asked * options.questions
        explained = self._bank.draw_questions(asked if options.explanation_weight else 0, rng)
        size = self.vision_language.size
        return {
            "pixels": resize_grey(images, size.image_size),
            "present": places.present,
            "boxes": places.boxes,
            "cells": covered_cells(labels, size.grid * self.extractors.segment_information.cells),
            "tissues": cell_centers(tissues, size.grid * _TISSUE_CELLS),
            "levels": levels / LEVEL_UNIT_MM,
            "explained": explained_answers(
                self.vision_language.prompts, explained, self._explanations, rng
            ),
            "behind_images": rows_of(texts.texts[:behind], options.questions),
            "alone": rows_of(texts.texts[behind:], QUESTIONS_OF_A_ROW),
            "asked": texts.asked,
            "vectors": texts.vectors,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Places, answers, explanations, and what the teachers read from the states."""
        alone, _ = ask_together(
            self.vision_language, None, batch["alone"], word_dropout=self.options.word_dropout
        )
        alone = alone.flatten(0, 1)
        # All at once: the tower's normalisation is over the batch.
        features = self.vision_language.image_features(batch["pixels"])
        asked = len(batch["behind_images"])
        states: list[Tensor] = []
        patches: list[Tensor] = []
        answers: list[Tensor] = []
        if asked:
            behind, seen = ask_together(
                self.vision_language, features[:asked], batch["behind_images"]
            )
            states.append(behind.flatten(0, 1))
            answers.append(behind[:, 0])
            assert seen is not None  # Images were given.
            patches.append(seen)
        if asked < len(features):
            patches.append(look(self.vision_language, features[asked:]))
            # Places are looked for behind any question: borrow one that was asked elsewhere.
            borrowed = torch.arange(len(features) - asked, device=alone.device) % len(alone)
            answers.append(alone[borrowed].detach())
        states.append(alone)
        losses = {
            **self._place_losses(batch, torch.cat(answers), torch.cat(patches)),
            **self._text_losses(batch, torch.cat(states)),
        }
        if batch["explained"] is not None:
            losses["explanation"] = self.options.explanation_weight * explanation_loss(
                self.vision_language, features[:asked], batch["explained"]
            )
        return losses

    def _place_losses(self, batch: Batch, answers: Tensor, patches: Tensor) -> dict[str, Tensor]:
        options = self.options
        heads = self.extractors
        places = heads.segment_information(answers, patches, heads.organ_prototypes)
        present = batch["present"]
        tissues = lay_out_cells(self.tissues(patches), _TISSUE_CELLS)
        level = self.level(patches.mean(dim=1)).squeeze(-1)
        return {
            "attention": options.attention_weight
            * attention_loss(places.attention_logits, batch["cells"], present),
            "box": options.box_weight * box_loss(places.boxes, batch["boxes"], present.float()),
            "presence": options.presence_weight * presence_loss(places.presence_logits, present),
            "tissue": options.tissue_weight * tissue_loss(tissues, batch["tissues"]),
            "level": options.level_weight * level_loss(level, batch["levels"]),
        }

    def _text_losses(self, batch: Batch, states: Tensor) -> dict[str, Tensor]:
        options, asked = self.options, batch["asked"]
        labelled = asked.any(dim=-1)
        similarity = question_similarity(self.extractors, states[labelled])
        return {
            "answer": options.answer_weight
            * answer_loss(similarity, asked[labelled], self.temperature),
            "gap": options.gap_weight * gap_loss(similarity, asked[labelled]),
            "distill": options.distill_weight * self.teacher(states, batch["vectors"]),
        }

    def validate(self, device: torch.device) -> dict[str, float]:
        """Box IoU, presence AUC, and organ choice on questions held apart."""
        return validation_figures(
            self.vision_language,
            self.extractors,
            self._validation,
            self._bank,
            device,
            slices=self._validation_slices,
        )
