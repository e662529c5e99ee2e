"""Toy widths and painted slices for the tests of training: every stage in a few steps."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from organseg.contract import TINY
from organseg.contract.presets import ClipSize, ExtractorSize, ResNetSize
from organseg.data.questions import Question, load_questions
from organseg.data.questions import Split as QuestionSplit
from organseg.training.options import AugmentOptions
from organseg.training.sampling import SliceSampler
from organseg.training.sentences import QuestionBank
from organseg.training.slices import SliceSet

TOY = replace(
    TINY,
    name="toy",
    segmenter=replace(
        TINY.segmenter,
        image_size=64,
        width=32,
        depth=2,
        heads=2,
        window=4,
        global_blocks=(1,),
        channels=32,
        decoder_mlp=64,
    ),
    vision_language=replace(
        TINY.vision_language,
        image_size=64,
        tower=ResNetSize(stem=8, widths=(8, 16, 32), depths=(1, 1, 1)),
        width=32,
        depth=2,
        heads=2,
        key_value_heads=2,
        mlp=64,
    ),
    extractors=ExtractorSize(width=32, heads=2, depth=1, cells=2, kernel=8, text_width=384),
)

TOY_ORIGINAL = replace(
    TOY,
    vision_language=replace(
        TOY.vision_language,
        tower=ClipSize(width=32, depth=2, heads=2, mlp=64),
        tied_embeddings=False,
    ),
)
"""The same with what LLaVA-Med has: a CLIP tower, and a head of its own."""

STILL = AugmentOptions(
    zoom=0.0,
    shift=0.0,
    turn_degrees=0.0,
    gamma=0.0,
    coarse_share=0.0,
    contrast_share=0.0,
    warp=0.0,
    shading=0.0,
    grain=0.0,
)
"""Slices shown as they are."""

SIDE = 64


def painted_slices(patients: int = 2, slices: int = 4, seed: int = 0) -> SliceSet:
    """Rectangles of liver (1), spleen (3) and aorta (5), each in its own grey."""
    rng = np.random.default_rng(seed)
    count = patients * slices
    images = np.full((count, SIDE, SIDE), 20, dtype=np.uint8)
    labels = np.zeros_like(images)
    for row in range(count):
        for organ, left, grey in ((1, 4, 200), (3, 40, 120), (5, 28, 250)):
            if organ == 3 and row % slices == 0:
                continue
            top = int(rng.integers(8, 24))
            height, width = (8, 6) if organ == 5 else (26, 18)
            area = (row, slice(top, top + height), slice(left, left + width))
            images[area], labels[area] = grey, organ
    patient = np.repeat(np.arange(patients), slices).astype(np.int32)
    modalities = np.zeros(count, dtype=np.uint8)
    levels = np.linspace(-50, 50, count, dtype=np.float32)
    # Any tissues will do, as long as they follow the picture.
    return SliceSet(images, labels, labels.copy(), levels, patient, modalities)


def sampler(**changes: int) -> SliceSampler:
    """Painted slices, never changed."""
    return SliceSampler(painted_slices(**changes), STILL)


@lru_cache(maxsize=1)
def few_questions() -> tuple[Question, ...]:
    """Every ninth training question: all organs, several at once, out of scope."""
    return load_questions(QuestionSplit.TRAIN)[::9]


def toy_bank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> QuestionBank:
    """Questions with vectors by lot: the sentence encoder takes seconds to load."""
    monkeypatch.setattr("organseg.training.sentences.embed", vectors_by_lot)
    return QuestionBank(folder, sentences=30, questions=few_questions())


def vectors_by_lot(texts):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(texts), 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
