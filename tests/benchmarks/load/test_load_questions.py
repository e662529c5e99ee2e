"""Pictures that differ at no cost, and what the users of each mix ask."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.load.marked import MarkedPicture
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.questions import FIRST, FOLLOW_UP, QuestionSource
from benchmarks.load.window import Mix
from organseg.errors import ImageError
from organseg.imaging.encoding import encode_npy

SPEC = WorkloadSpec(texts=("a?", "b?", "c?"), serial=5, repeated_images=2, side=64)


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        picture.verify()
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("shape", [(64, 64), (130, 517), (512, 512)])
def test_a_marked_picture_is_a_png_that_differs_in_its_last_rows_alone(
    shape: tuple[int, int],
) -> None:
    original = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    marked = MarkedPicture(original)
    one, other, far = (pixels_of(marked.png(number)) for number in (5, 6, 2**63 + 5))
    rows = 2 * (shape[0] // 64)
    for pixels in (one, other, far):
        np.testing.assert_array_equal(pixels[:-rows], original[:-rows])
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, far)
    assert marked.png(5) == marked.png(5)


def test_marks_differ_still_when_the_picture_is_scaled_down() -> None:
    marked = MarkedPicture(np.zeros((512, 512), np.uint8))
    small = [
        np.asarray(Image.open(io.BytesIO(marked.png(number))).resize((128, 128))).tobytes()
        for number in range(64)
    ]
    assert len(set(small)) == len(small)


def test_a_picture_too_small_for_a_mark_is_refused() -> None:
    with pytest.raises(ImageError, match="64 x 64"):
        MarkedPicture(np.zeros((64, 63), np.uint8))


def test_distinct_images_never_come_twice_whoever_of_whichever_worker_asks() -> None:
    images = [
        asked.question.image
        for worker in (0, 1)
        for source in (QuestionSource(SPEC, Mix.DISTINCT, worker),)
        for user in (0, 1)
        for asked in islice(source.stream(user), 10)
    ]
    assert len(set(images)) == 40


def test_repeated_images_are_few_and_the_same_for_every_user_and_window() -> None:
    first, second = (
        QuestionSource(SPEC, Mix.REPEATED, 0),
        QuestionSource(WorkloadSpec(**{**vars(SPEC), "serial": 9}), Mix.REPEATED, 1),
    )
    asked = [question for source in (first, second) for question in islice(source.stream(0), 12)]
    assert len({one.question.image for one in asked}) == 2
    assert {one.question.text for one in asked} == {"a?", "b?", "c?"}


def test_a_session_asks_several_questions_of_an_image_and_then_takes_another() -> None:
    asked = list(islice(QuestionSource(SPEC, Mix.SESSIONS).stream(0), 8))
    assert [one.kind for one in asked] == 2 * [FIRST, FOLLOW_UP, FOLLOW_UP, FOLLOW_UP]
    images = [one.question.image for one in asked]
    # The same object: a session target tells a new image by it.
    assert all(image is images[0] for image in images[:4])
    assert len(set(images)) == 2


def test_a_file_that_cannot_be_marked_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(encode_npy(np.zeros((64, 64), np.int16)))
    with pytest.raises(ImageError, match="save it as PNG"):
        QuestionSource(WorkloadSpec(images=(str(path),)), Mix.DISTINCT)
