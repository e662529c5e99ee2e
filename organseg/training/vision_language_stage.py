"""Stage 0 `vision-language`: the small LLaVA learns places and what questions ask for.

Three passes make one step. Images alone teach that patch states know where organs are: under a
causal mask they never depend on the question, so most images need none. Texts alone are cheap
and teach language: the questions, the glossary's terms, the text encoder's embedding of any
sentence. A few images with questions teach that an answer state behind image tokens names what
was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.data.phantom import Tissue
from organseg.evaluation.calibration import area_under_roc
from organseg.networks.extractors import Extractors
from organseg.networks.text_encoder import encoder_folder
from organseg.networks.vision_language import VisionLanguage
from organseg.organs import NONE, ORGANS
from organseg.training.augment import resize_grey
from organseg.training.loop import Batch, Stage
from organseg.training.losses import (
    answer_loss,
    attention_loss,
    box_loss,
    distillation_loss,
    generalised_iou,
    level_loss,
    presence_loss,
    tissue_loss,
)
from organseg.training.options import VisionLanguageOptions
from organseg.training.packing import ask_together, look
from organseg.training.sampling import SliceSampler
from organseg.training.sentences import QuestionBank, asked_answers
from organseg.training.targets import covered_cells, place_targets

VALIDATION_QUESTIONS = 480
"""Questions held apart that are asked at each validation, at most."""
_PACK = 24
"""Questions of one row in a pass without images."""
_TISSUE_CELLS = 2
"""Cells of a patch, along each axis, whose tissue is read from its state."""
_LEVEL_UNIT_MM = 100.0
"""Levels are learned in decimetres."""


class VisionLanguageStage(Stage):
    """LLaVA from scratch, with the extractors as its teachers' mouthpiece."""

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
        size = vision_language.size
        # Teachers that are left behind when the stage is over.
        self.distilled = nn.Linear(size.width, extractors.organ_prototypes.shape[1])
        self.tissues = nn.Linear(size.width, len(Tissue) * _TISSUE_CELLS**2)
        self.level = nn.Linear(size.width, 1)
        self.options, self.temperature = options, temperature
        self._training, self._validation, self._bank = training, validation, bank
        self._validation_slices = validation_slices

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Slices, questions about the first of them, and rows of text alone."""
        options = self.options
        images, labels, tissues, levels = self._training.draw(batch, rng)
        places = place_targets(labels)
        asked = min(options.asked_images, batch)
        texts = self._bank.draw(
            asked * options.questions + max(1, options.text_batch // _PACK) * _PACK,
            rng,
            typos=options.typos,
            composed=options.composed,
            distilled=options.distilled,
        )
        behind = asked * options.questions
        size = self.vision_language.size
        grid = size.image_size // size.patch_size
        return {
            "pixels": resize_grey(images, size.image_size),
            "present": places.present,
            "boxes": places.boxes,
            "cells": covered_cells(labels, grid * self.extractors.segment_information.cells),
            "tissues": cell_centers(tissues, grid * _TISSUE_CELLS),
            "levels": levels / _LEVEL_UNIT_MM,
            "behind_images": _rows(texts.texts[:behind], options.questions),
            "alone": _rows(texts.texts[behind:], _PACK),
            "asked": texts.asked,
            "vectors": texts.vectors,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Places, answers, and what the teachers read from the states."""
        pixels = batch["pixels"]
        alone, _ = ask_together(self.vision_language, None, batch["alone"])
        alone = alone.flatten(0, 1)
        asked = len(batch["behind_images"])
        states: list[Tensor] = []
        patches: list[Tensor] = []
        answers: list[Tensor] = []
        if asked:
            behind, seen = ask_together(
                self.vision_language, pixels[:asked], batch["behind_images"]
            )
            states.append(behind.flatten(0, 1))
            answers.append(behind[:, 0])
            assert seen is not None  # Images were given.
            patches.append(seen)
        if asked < len(pixels):
            patches.append(look(self.vision_language, pixels[asked:]))
            # Places are looked for behind any question: borrow one that was asked elsewhere.
            borrowed = torch.arange(len(pixels) - asked, device=alone.device) % len(alone)
            answers.append(alone[borrowed].detach())
        states.append(alone)
        return {
            **self._place_losses(batch, torch.cat(answers), torch.cat(patches)),
            **self._text_losses(batch, torch.cat(states)),
        }

    def _place_losses(self, batch: Batch, answers: Tensor, patches: Tensor) -> dict[str, Tensor]:
        options = self.options
        heads = self.extractors
        places = heads.segment_information(answers, patches, heads.organ_prototypes)
        present = batch["present"]
        grid = self.vision_language.size.image_size // self.vision_language.size.patch_size
        tissues = self.tissues(patches).transpose(1, 2).unflatten(2, (grid, grid))
        tissues = functional.pixel_shuffle(tissues, _TISSUE_CELLS)
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
            "distill": options.distill_weight
            * distillation_loss(self.distilled(states), batch["vectors"]),
        }

    def validate(self, device: torch.device) -> dict[str, float]:
        """Box IoU, presence AUC, and organ choice on questions held apart."""
        rows = self._validation.spread(self._validation_slices)
        figures = place_figures(
            self.vision_language, self.extractors, self._validation, rows, device
        )
        questions = self._bank.few(VALIDATION_QUESTIONS)
        similarity = ask_on_slices(
            self.vision_language, self.extractors, self._validation, rows, questions, device
        )
        figures |= answer_figures(similarity, torch.stack([asked_answers(q) for q in questions]))
        score = figures["box_iou"] + figures["presence_auc"] + figures["choice"]
        return {"score": score / 3.0, **figures}


def question_similarity(extractors: Extractors, answer_states: Tensor) -> Tensor:
    """Float [N, 14]: the cosines that serving decides by, from answer states [N, D]."""
    text_vector = extractors.information_of_interest(answer_states).float()
    organs = text_vector @ extractors.organ_prototypes.T
    irrelevant = (text_vector @ extractors.irrelevant_prototypes.T).amax(dim=-1, keepdim=True)
    return torch.cat([organs, irrelevant], dim=-1)


@torch.no_grad()
def place_figures(
    vision_language: VisionLanguage,
    extractors: Extractors,
    sampler: SliceSampler,
    rows: Sequence[int],
    device: torch.device,
) -> dict[str, float]:
    """Mean IoU of boxes of shown organs, and mean AUC of presence over organs."""
    presence, present, boxes, truths = predict_places(
        vision_language, extractors, sampler, rows, device
    )
    low = torch.maximum(boxes[..., :2], truths[..., :2])
    high = torch.minimum(boxes[..., 2:], truths[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=-1) for each in (boxes, truths)]
    iou = overlap / (areas[0] + areas[1] - overlap).clamp(min=1e-7)
    ranks = [
        area_under_roc(presence[:, index].numpy(), present[:, index].numpy())
        for index in range(len(ORGANS))
    ]
    known = [rank for rank in ranks if rank is not None]
    return {
        "box_iou": float(iou[present].mean()) if present.any() else 0.0,
        "box_giou": float(generalised_iou(boxes, truths)[present].mean()) if present.any() else 0.0,
        "presence_auc": float(np.mean(known)) if known else 0.5,
    }


@torch.no_grad()
def predict_places(
    vision_language: VisionLanguage,
    extractors: Extractors,
    sampler: SliceSampler,
    rows: Sequence[int],
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Presence probability, presence, boxes and true boxes: [N, 13], [N, 13], [N, 13, 4] twice."""
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, len(rows), 8):
        images, labels = sampler.read(list(rows[start : start + 8]))
        pixels = resize_grey(images, vision_language.size.image_size).to(device)
        states = vision_language(pixels, [f"Segment the {ORGANS[0].name}."] * len(images))
        seen = extractors.segment_information(
            states.answer_state, states.patch_states, extractors.organ_prototypes
        )
        places = place_targets(labels)
        presence = seen.presence_logits.float().sigmoid().cpu()
        found.append((presence, places.present, seen.boxes.float().cpu(), places.boxes))
    presence, present, boxes, truths = (torch.cat(parts) for parts in zip(*found, strict=True))
    return presence, present, boxes, truths


@torch.no_grad()
def ask_on_slices(
    vision_language: VisionLanguage,
    extractors: Extractors,
    sampler: SliceSampler,
    rows: Sequence[int],
    questions: Sequence[object],
    device: torch.device,
) -> Tensor:
    """Float32 [N, 14]: every question asked once, each group of 16 on a slice of its own."""
    texts = [str(getattr(question, "text", question)) for question in questions]
    found = []
    for number, start in enumerate(range(0, len(texts), 16)):
        images, _ = sampler.read([rows[number % len(rows)]])
        pixels = resize_grey(images, vision_language.size.image_size).to(device)
        answers, _ = ask_together(vision_language, pixels, [texts[start : start + 16]])
        found.append(question_similarity(extractors, answers[0]).float().cpu())
    return torch.cat(found)


def answer_figures(similarity: Tensor, asked: Tensor) -> dict[str, float]:
    """Organ choice (the paper's argmax) on questions for one organ, N-acc and T-acc."""
    chosen = similarity.argmax(dim=-1)
    single = asked[:, : NONE.id - 1].sum(dim=-1) == 1
    out = asked[:, NONE.id - 1]
    right = asked[torch.arange(len(asked)), chosen]
    rejected = chosen == NONE.id - 1
    return {
        "choice": float(right[single].float().mean()) if single.any() else 0.0,
        "n_acc": float(rejected[out].float().mean()) if out.any() else 0.0,
        "t_acc": float((~rejected)[~out].float().mean()) if (~out).any() else 0.0,
    }


@torch.no_grad()
def start_from_encoder(vision_language: VisionLanguage) -> None:
    """Token embeddings from the text encoder's, by their principal components.

    The stand-in's word pieces are the encoder's; tokens it lacks keep their random start.
    """
    from safetensors.torch import load_file

    table = load_file(str(encoder_folder() / "model.safetensors"))
    words = next(weight for name, weight in table.items() if "word_embeddings" in name).float()
    embeddings = vision_language._model().language_model.embed_tokens.weight
    width = min(embeddings.shape[1], words.shape[1])
    centred = words - words.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred.T @ centred)
    reduced = functional.normalize(centred, dim=-1) @ axes[:width].T
    count = min(len(words), len(embeddings))
    spread = embeddings.std()
    embeddings[:count, :width] = (reduced * spread / reduced.std())[:count]


def cell_centers(tissues: Tensor, side: int) -> Tensor:
    """Int64 [B, side, side]: the tissue at the middle of every cell of uint8 [B, H, W]."""
    middles = torch.arange(side) * tissues.shape[-1] // side + tissues.shape[-1] // (2 * side)
    return tissues[:, middles][:, :, middles].long()


def _rows(texts: Sequence[str], width: int) -> list[list[str]]:
    return [list(texts[start : start + width]) for start in range(0, len(texts), width)]
