"""The workload: distinct images with distinct questions, ready before any clock starts."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from organseg.data.questions import Split, load_questions
from organseg.errors import ImageError
from organseg.imaging.encoding import encode_png

REPO_ROOT = Path(__file__).resolve().parent.parent
SAMPLES_FOLDER = REPO_ROOT / "demo" / "samples"

_SAMPLES_INDEX = "samples.json"
_SIDE = 512
_SMALLEST_GRID = 8


class ImageSource(Enum):
    """Where the images of a workload come from."""

    FILES = "the files given"
    """The caller's."""
    SAMPLES = "the demo's sample slices"
    """The images that `demo/samples/samples.json` lists."""
    MADE_UP = "made-up pictures"
    """Drawn by `made_up_picture`: they time the flow and mean nothing."""


@dataclass(frozen=True)
class Question:
    """One image and what is asked about it."""

    image: bytes = field(repr=False)
    """The encoded image."""
    text: str
    """The question."""


@dataclass(frozen=True)
class Workload:
    """What one run sends."""

    questions: tuple[Question, ...]
    """In the order in which they are sent."""
    source: ImageSource
    """Where the images come from."""

    @property
    def distinct_images(self) -> int:
        """How many of the encoded images differ."""
        return len({question.image for question in self.questions})

    @property
    def distinct_texts(self) -> int:
        """How many of the question texts differ."""
        return len({question.text for question in self.questions})


def make_workload(
    count: int,
    images: Sequence[Path] = (),
    *,
    texts: Sequence[str] = (),
    seed: int = 0,
    samples_folder: Path = SAMPLES_FOLDER,
) -> Workload:
    """A workload of `count` questions, the same for the same arguments.

    Where there are fewer images than questions, later rounds send each image shifted sideways
    by a pixel more, so that nothing on the way can answer from memory; images that Pillow does
    not read (DICOM, `.npy`) are sent again as they are. The questions are `texts` in their order,
    or the held-out ones in random order; from the first again once all are used.

    Raises:
        ImageError: a file cannot be read.
    """
    source = ImageSource.FILES
    paths = list(images)
    if not paths:
        source, paths = ImageSource.SAMPLES, sample_images(samples_folder)
    if paths:
        originals = [read_image(path) for path in paths]
        pictures = [
            shifted(originals[index % len(originals)], index // len(originals))
            for index in range(count)
        ]
    else:
        source = ImageSource.MADE_UP
        pictures = [made_up_picture(seed * 1_000_003 + index) for index in range(count)]
    asked = question_texts(texts, seed)
    return Workload(
        tuple(
            Question(picture, asked[index % len(asked)]) for index, picture in enumerate(pictures)
        ),
        source,
    )


def question_texts(texts: Sequence[str] = (), seed: int = 0) -> list[str]:
    """`texts` in their order, or all held-out questions in the random order of `seed`."""
    if texts:
        return list(texts)
    asked = [question.text for question in load_questions(Split.HELD_OUT)]
    random.Random(seed).shuffle(asked)
    return asked


def sample_images(folder: Path) -> list[Path]:
    """The images that the index of a samples folder lists; none where there is no index.

    The folder holds label maps too, so its index is asked. Raises `ImageError` where the index
    is not laid out as expected.
    """
    try:
        entries = json.loads((folder / _SAMPLES_INDEX).read_text(encoding="utf-8"))
        return [folder / entry["image"] for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise ImageError(
            f"wanted a list of samples, each with its `image`, in {_SAMPLES_INDEX}, got another "
            f"({type(error).__name__}): restore the file, or name images with --images"
        ) from None


def made_up_picture(seed: int) -> bytes:
    """A smooth random picture of a CT slice's size, as PNG; another one for every seed."""
    generator = np.random.default_rng(seed)
    grey = np.zeros((_SIDE, _SIDE), dtype=np.float32)
    # Coarse shapes with finer ones over them: about as hard to encode as a slice.
    for octave in range(4):
        side = _SMALLEST_GRID << octave
        coarse = generator.normal(size=(side, side)).astype(np.float32)
        finer = Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        grey += np.asarray(finer) / 2**octave
    grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
    return encode_png(grey.astype(np.uint8))


def shifted(image: bytes, columns: int) -> bytes:
    """The image moved sideways round its edge, in its own file format; as it is for 0 columns.

    Bytes that Pillow does not read come back unchanged.
    """
    if columns == 0:
        return image
    try:
        with Image.open(io.BytesIO(image)) as picture:
            pixels = np.roll(np.asarray(picture.convert("L")), columns, axis=1)
            file_format = picture.format
    except UnidentifiedImageError:
        return image
    except OSError as error:
        raise ImageError(
            f"wanted a whole image file, got one that cannot be decoded ({type(error).__name__}): "
            "make the file again"
        ) from None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def read_image(path: Path) -> bytes:
    """The bytes of an image file; raises `ImageError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"wanted an image file, got {path.name!r}, which cannot be read ({error.strerror}): "
            "name other files with --images"
        ) from None
