from __future__ import annotations

import re
import time
import tracemalloc

import pytest

from hostile.images import HOSTILE_IMAGES
from organseg.errors import ImageError
from organseg.imaging.decoding import decode_image


@pytest.mark.parametrize("name", HOSTILE_IMAGES)
def test_a_hostile_image_is_refused_in_words_quickly_and_in_little_memory(name):
    encoded = HOSTILE_IMAGES[name]
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ImageError) as caught:
            decode_image(encoded)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.fullmatch(r"wanted .+, came .+; .+", str(caught.value), re.DOTALL)
    assert len(str(caught.value)) < 400
    # The slowest takes some 60 ms without the tracer, which slows Python down several times.
    assert time.process_time() - start < 2.0
    # Copies of the bytes that came are allowed, an expansion of them is not.
    assert peak_bytes < 3 * len(encoded) + 16 * 2**20


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("png 50,000 x 50,000 header", "50000 rows x 50000 columns"),
        ("png bomb", "12000 rows x 12000 columns"),
        ("jpeg 65,000 x 65,000 header", "65000 rows x 65000 columns"),
        ("npy giant shape", "50000 rows x 50000 columns"),
        ("npy truncated", "truncated"),
        ("npy pickled", "dtype kind 'O'"),
        ("npy NaN", "NaN"),
        ("npy 3-D", "3 axes"),
        ("dicom multi-frame", "3 frames"),
        ("dicom without pixel data", "without pixel data"),
        ("dicom 60,000 x 60,000 header", "60000 rows x 60000 columns"),
        ("dicom sagittal", "sagittal"),
        ("dicom deflated bomb", "deflated"),
        ("dicom jpeg 2000 of another size", "of the size that the DICOM header declares"),
        ("dicom jpeg of another size", "of the size that the DICOM header declares"),
        ("dicom rle bomb", "of the size that the DICOM header declares"),
        ("dicom jpeg-ls", "JPEG-LS"),
        ("gif", "none of them"),
    ],
)
def test_the_message_names_what_came(name, named):
    with pytest.raises(ImageError, match=re.escape(named)):
        decode_image(HOSTILE_IMAGES[name])
