"""The key of a prepared image: equal where all that is computed of it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.contract import LLAVA_MED_7B, TINY
from organseg.imaging import image_key as module
from organseg.imaging.encoding import encode_npy, encode_png, encode_sample
from organseg.imaging.image_key import image_key
from organseg.imaging.preprocess import prepare

PIXELS = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)


def key_of(image: bytes, window: tuple[float, float] | None = None, preset=TINY) -> bytes:
    return prepare(image, None, window, preset).image_key.tobytes()


def test_the_same_pixels_have_the_same_key_however_they_are_encoded_and_whatever_is_asked():
    image = encode_png(PIXELS)
    key = key_of(image)
    assert len(key) == 32
    assert key == key_of(encode_png(PIXELS.copy()))
    assert key == prepare(image, b"spleen", None, TINY).image_key.tobytes()


def test_one_other_pixel_window_or_preset_is_another_key():
    other = PIXELS.copy()
    other[0, 0] ^= 1
    slice_hu = encode_npy(PIXELS.astype(np.int16) * 3)
    keys = {
        key_of(encode_png(PIXELS)),
        key_of(encode_png(other)),
        key_of(encode_png(PIXELS), preset=LLAVA_MED_7B),
        key_of(slice_hu),
        key_of(slice_hu, (0.0, 300.0)),
        key_of(slice_hu, (0.0, 301.0)),
    }
    assert len(keys) == 6


def test_another_contract_is_another_key(monkeypatch: pytest.MonkeyPatch):
    square = np.zeros((8, 8), dtype=np.uint8)
    before = image_key(square, square, None).tobytes()
    monkeypatch.setattr(module, "CONTRACT_VERSION", "000000000000")
    assert image_key(square, square, None).tobytes() != before


def test_pixels_do_not_slip_from_one_model_to_the_other():
    one, two = np.zeros((8, 8), dtype=np.uint8), np.zeros((16, 16), dtype=np.uint8)
    assert image_key(one, two, None).tobytes() != image_key(two, one, None).tobytes()


def test_an_image_alone_has_an_empty_question():
    assert prepare(encode_png(PIXELS), None, None, TINY).question == ""


def test_a_sample_is_another_image_each_time():
    assert len({key_of(encode_sample()) for _ in range(4)}) == 4
