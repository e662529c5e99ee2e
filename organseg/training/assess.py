"""Figures of a checkpoint on validation phantoms and questions, by the gate that serving uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from organseg.data.questions import Question, load_questions
from organseg.data.questions import Split as QuestionSplit
from organseg.data.questions.typos import with_typos
from organseg.networks.checkpoint import Checkpoint
from organseg.networks.gate import Thresholds, asked_organs
from organseg.networks.text_encoder import embed
from organseg.organs import ORGANS
from organseg.training.augment import resize_grey
from organseg.training.figures import (
    answer_figures,
    ask_on_slices,
    place_figures,
    predict_places,
)
from organseg.training.sampling import SliceSampler
from organseg.training.segmenter_stage import oracle_dice
from organseg.training.sentences import asked_answers
from organseg.training.targets import organ_masks, place_targets

if TYPE_CHECKING:
    from organseg.training.pipeline import Pipeline

Figures = dict[str, dict[str, float]]


@torch.no_grad()
def assess(pipeline: Pipeline, *, held_out: bool, slices: int = 240) -> Figures:
    """All figures, by topic.

    Args:
        pipeline: whose checkpoint, validation slices and validation questions are taken.
        held_out: whether the held-out questions are asked, too: for a report, never to choose.
        slices: how many validation slices are looked at.
    """
    checkpoint = pipeline.trained_checkpoint()
    _, validation = pipeline.samplers()
    rows = validation.spread(slices)
    device = _device(checkpoint)
    parts = checkpoint.organ_seg
    places = (parts.vision_language, parts.extractors, validation, rows)
    figures: Figures = {
        "dice_oracle_box": _oracle(checkpoint, validation, rows),
        "dice_predicted_box": _predicted(checkpoint, validation, rows),
        "places": place_figures(*places, device),
        "presence": _absence(checkpoint, validation, rows),
    }
    validation_questions = pipeline.bank().validation
    asked: dict[str, Sequence[Question]] = {
        "validation_questions": validation_questions,
        "validation_questions_mistyped": [
            with_typos(question, seed) for seed, question in enumerate(validation_questions)
        ],
    }
    if held_out:
        asked["held_out_questions"] = load_questions(QuestionSplit.HELD_OUT)
    for name, questions in asked.items():
        similarity = ask_on_slices(*places, questions, device)
        figures[name] = gate_figures(similarity, questions, checkpoint.cache.thresholds)
        figures[f"{name}_text_encoder_alone"] = answer_figures(
            zero_shot(checkpoint, questions), _answers(questions)
        )
    return figures


def gate_figures(
    similarity: Tensor, questions: Sequence[Question], thresholds: Thresholds
) -> dict[str, float]:
    """Organ choice, N-acc and T-acc by the calibrated gate, and the plain argmax's beside them."""
    answered = [asked_organs(row, thresholds) for row in similarity.numpy()]
    nearest = similarity[:, : len(ORGANS)].argmax(dim=-1).numpy() + 1
    single, several, rejected, accepted = [], [], [], []
    for question, found, best in zip(questions, answered, nearest, strict=True):
        if not question.in_scope:
            rejected.append(not found)
            continue
        accepted.append(bool(found))
        if len(question.organ_ids) == 1:
            single.append(bool(found) and int(best) == question.organ_ids[0])
        else:
            several.append(tuple(found) == question.organ_ids)
    plain = answer_figures(similarity, _answers(questions))
    return {
        "choice": _share(single),
        "several_exact": _share(several),
        "n_acc": _share(rejected),
        "t_acc": _share(accepted),
        **{f"argmax_{name}": value for name, value in plain.items()},
        "questions": float(len(questions)),
    }


def zero_shot(checkpoint: Checkpoint, questions: Sequence[Question]) -> Tensor:
    """Float32 [N, 14]: the text encoder alone against the same cache, no training at all."""
    vectors = embed([question.text for question in questions])
    cache = checkpoint.cache
    irrelevant = (vectors @ cache.irrelevant_prototypes.T).max(axis=1, keepdims=True)
    return torch.from_numpy(
        np.concatenate([vectors @ cache.organ_prototypes.T, irrelevant], axis=1)
    )


def write_figures(figures: Figures, out: Path) -> None:
    """Prints the figures and writes them as `figures.json`."""
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for topic, values in figures.items():
        print(topic)
        for name, value in values.items():
            print(f"  {name:28s} {value:.3f}")


def _oracle(checkpoint: Checkpoint, sampler: SliceSampler, rows: list[int]) -> dict[str, float]:
    found: list[tuple[int, float]] = []
    for start in range(0, len(rows), 8):
        images, labels = sampler.read(rows[start : start + 8])
        segmenter = checkpoint.organ_seg.segmenter
        found += oracle_dice(segmenter, images, labels, _device(checkpoint))
    return _by_organ(found)


def _predicted(checkpoint: Checkpoint, sampler: SliceSampler, rows: list[int]) -> dict[str, float]:
    """Dice of shown organs from the predicted box, whether or not the gate offers them."""
    parts = checkpoint.organ_seg
    found: list[tuple[int, float]] = []
    for row in rows:
        images, labels = sampler.read([row])
        present = place_targets(labels).present[0]
        shown = present.nonzero()[:, 0]
        if not len(shown):
            continue
        images = images.to(_device(checkpoint))
        pixels = resize_grey(images, parts.preset.vision_language.image_size)
        states = parts.vision_language(pixels, [f"Segment the {ORGANS[int(shown[0])].name}."])
        boxes = parts.extractors(states.answer_state, states.patch_states).boxes
        embeddings = parts.segmenter.encode_image(
            resize_grey(images, parts.preset.segmenter.image_size)
        )
        logits, _ = parts.segmenter.decode_masks(embeddings, boxes[:, shown])
        full = functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear")
        drawn, true = full[0].cpu() > 0.0, organ_masks(labels)[0, shown]
        total = drawn.sum(dim=(-2, -1)) + true.sum(dim=(-2, -1))
        dice = 2.0 * (drawn & true).sum(dim=(-2, -1)) / total
        found += [(int(index), float(value)) for index, value in zip(shown, dice, strict=True)]
    return _by_organ(found)


def _absence(checkpoint: Checkpoint, sampler: SliceSampler, rows: list[int]) -> dict[str, float]:
    """N-acc and T-acc of absence by the calibrated thresholds, over (slice, organ)."""
    parts = checkpoint.organ_seg
    presence, present, _, _ = predict_places(
        parts.vision_language, parts.extractors, sampler, rows, _device(checkpoint)
    )
    offered = presence >= torch.tensor(checkpoint.cache.thresholds.presence)
    return {
        "absent_rejected": float((~offered)[~present].float().mean()),
        "present_offered": float(offered[present].float().mean()),
    }


def _device(checkpoint: Checkpoint) -> torch.device:
    return next(checkpoint.organ_seg.parameters()).device


def _by_organ(found: list[tuple[int, float]]) -> dict[str, float]:
    means = {
        organ.key: float(np.mean([value for index, value in found if index == organ.id - 1]))
        for organ in ORGANS
        if any(index == organ.id - 1 for index, _ in found)
    }
    return {"mean": float(np.mean(list(means.values()))), **means}


def _answers(questions: Sequence[Question]) -> Tensor:
    return torch.stack([asked_answers(question) for question in questions])


def _share(hits: list[bool]) -> float:
    return float(np.mean(hits)) if hits else 0.0
