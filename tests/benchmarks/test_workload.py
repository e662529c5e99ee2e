"""The workload: distinct, repeatable, and made of what was asked for."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.workload import ImageSource, made_up_picture, make_workload, shifted
from organseg.errors import ImageError
from organseg.imaging.encoding import encode_npy, encode_png

PIXELS = np.arange(24 * 30, dtype=np.int32).reshape(24, 30).astype(np.uint8)


def write_images(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(encode_png(np.roll(PIXELS, index, axis=0)))
    return paths


def test_made_up_pictures_and_questions_are_all_distinct(tmp_path: Path) -> None:
    workload = make_workload(12, samples_folder=tmp_path)
    assert workload.source is ImageSource.MADE_UP
    assert (workload.distinct_images, workload.distinct_texts) == (12, 12)


def test_the_same_seed_gives_the_same_workload_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        make_workload(3, seed=seed, samples_folder=tmp_path) for seed in (1, 1, 2)
    )
    assert first == again
    assert not {one.image for one in first.questions} & {one.image for one in other.questions}
    assert [one.text for one in first.questions] != [one.text for one in other.questions]


def test_a_made_up_picture_has_structure() -> None:
    with Image.open(io.BytesIO(made_up_picture(5))) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (512, 512)
    assert pixels.std() > 20


def test_few_images_are_sent_again_shifted_so_that_none_is_the_same(tmp_path: Path) -> None:
    workload = make_workload(7, write_images(tmp_path, 3))
    assert workload.source is ImageSource.FILES
    assert workload.distinct_images == 7
    assert workload.questions[0].image == (tmp_path / "0.png").read_bytes()


def test_only_the_images_of_the_sample_index_are_sent(tmp_path: Path) -> None:
    image, labels = write_images(tmp_path, 2)
    index = [{"image": image.name, "labels": labels.name}]
    (tmp_path / "samples.json").write_text(json.dumps(index))
    workload = make_workload(1, samples_folder=tmp_path)
    assert workload.source is ImageSource.SAMPLES
    assert workload.questions[0].image == image.read_bytes()


def test_the_samples_of_this_checkout_can_be_sent() -> None:
    workload = make_workload(8)
    assert workload.source is ImageSource.SAMPLES
    assert workload.distinct_images == 8


def test_a_damaged_sample_index_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('[{"picture": "a.png"}]')
    with pytest.raises(ImageError, match=r"samples\.json"):
        make_workload(1, samples_folder=tmp_path)


def test_a_shifted_image_keeps_its_format_and_its_grey_levels() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG")
    with Image.open(io.BytesIO(shifted(buffer.getvalue(), 4))) as picture:
        assert picture.format == "JPEG"
    with Image.open(io.BytesIO(shifted(encode_png(PIXELS), 4))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.roll(PIXELS, 4, axis=1))


def test_an_image_that_pillow_does_not_read_is_sent_as_it_is() -> None:
    content = encode_npy(PIXELS.astype(np.int16))
    assert shifted(content, 3) == content


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"'gone\.png'"):
        make_workload(1, [tmp_path / "gone.png"])
