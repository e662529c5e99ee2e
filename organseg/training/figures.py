"""What validation measures: boxes, presence, and what questions are taken to ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from organseg.evaluation.calibration import area_under_roc
from organseg.networks.extractors import Extractors
from organseg.networks.vision_language import VisionLanguage
from organseg.organs import NONE, ORGANS
from organseg.training.augment import resize_grey
from organseg.training.losses import generalised_iou
from organseg.training.packing import ask_together
from organseg.training.sampling import SliceSampler
from organseg.training.sentences import QuestionBank, asked_answers
from organseg.training.targets import place_targets

VALIDATION_QUESTIONS = 2000
"""Questions held apart that are asked at each validation, at most."""


def question_similarity(extractors: Extractors, answer_states: Tensor) -> Tensor:
    """Float [N, 14]: the cosines that serving decides by, from answer states [N, D]."""
    return extractors.compare(extractors.information_of_interest(answer_states).float())


def validation_figures(
    vision_language: VisionLanguage,
    extractors: Extractors,
    sampler: SliceSampler,
    bank: QuestionBank,
    device: torch.device,
    *,
    slices: int,
) -> dict[str, float]:
    """Box IoU, presence AUC, organ choice on questions held apart, and their mean as `score`."""
    rows = sampler.spread(slices)
    figures = place_figures(vision_language, extractors, sampler, rows, device)
    questions = bank.few(VALIDATION_QUESTIONS)
    similarity = ask_on_slices(vision_language, extractors, sampler, rows, questions, device)
    figures |= answer_figures(similarity, torch.stack([asked_answers(q) for q in questions]))
    score = figures["box_iou"] + figures["presence_auc"] + figures["choice"]
    return {"score": score / 3.0, **figures}


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
        features = vision_language.image_features(pixels)
        answers, _ = ask_together(vision_language, features, [texts[start : start + 16]])
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
