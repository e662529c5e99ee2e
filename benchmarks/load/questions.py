"""What each user asks next: an endless stream of images and questions for every mix."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load.marked import MarkedPicture
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.window import Mix
from benchmarks.workload import (
    SAMPLES_FOLDER,
    Question,
    made_up_picture,
    question_texts,
    read_image,
    sample_images,
)
from organseg.errors import ImageError

FIRST, FOLLOW_UP = "first", "follow_up"
"""What a question is to its image, in the mix `sessions`."""

_MADE_UP_PICTURES = 4
_SERIALS_OF_A_WORKER = 1 << 24
_REPEATED_SERIALS = 1 << 62


@dataclass(frozen=True)
class NextQuestion:
    """A question and what it is to its image."""

    question: Question
    """Image and text."""
    kind: str = ""
    """`first` or `follow_up` in the mix `sessions`; else empty."""


class QuestionSource:
    """Makes the streams of all users of one load process; reads and packs its pictures once.

    Distinct images are numbered from `serial` on, and every worker has numbers of its own, so that
    none is sent twice. Raises `ImageError` where a file cannot be used.
    """

    def __init__(self, spec: WorkloadSpec, mix: Mix, worker: int = 0) -> None:
        self._spec = spec
        self._mix = mix
        self._numbers = itertools.count((spec.serial or 0) + worker * _SERIALS_OF_A_WORKER)
        self._pictures = _pictures(spec)
        self._texts = question_texts(spec.texts, spec.seed)
        self._repeated = [
            self._pictures[index % len(self._pictures)].png(_REPEATED_SERIALS + index)
            for index in range(spec.repeated_images)
        ]

    def stream(self, user: int) -> Iterator[NextQuestion]:
        """What the user of this number asks, without end; users start at different places."""
        texts = itertools.islice(itertools.cycle(self._texts), user * 7 % len(self._texts), None)
        if self._mix is Mix.REPEATED:
            for turn, text in enumerate(texts):
                image = self._repeated[(user + turn) % len(self._repeated)]
                yield NextQuestion(Question(image, text))
        elif self._mix is Mix.DISTINCT:
            for text in texts:
                yield NextQuestion(Question(self._distinct(), text))
        else:
            while True:
                image = self._distinct()
                for turn in range(self._spec.questions_per_session):
                    kind = FOLLOW_UP if turn else FIRST
                    yield NextQuestion(Question(image, next(texts)), kind)

    def _distinct(self) -> bytes:
        number = next(self._numbers)
        return self._pictures[number % len(self._pictures)].png(number)


def _pictures(spec: WorkloadSpec) -> list[MarkedPicture]:
    paths = [Path(image) for image in spec.images] or sample_images(SAMPLES_FOLDER)
    files = [read_image(path) for path in paths] or [
        made_up_picture(spec.seed + index) for index in range(_MADE_UP_PICTURES)
    ]
    return [MarkedPicture(_grey(file, spec.side)) for file in files]


def _grey(file: bytes, side: int | None) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(file)) as picture:
            grey = picture.convert("L")
    except OSError as error:
        raise ImageError(
            "wanted images that can be marked with a number, got one that Pillow does not read "
            f"({type(error).__name__}): save it as PNG"
        ) from None
    return np.asarray(grey if side is None else grey.resize((side, side)))
