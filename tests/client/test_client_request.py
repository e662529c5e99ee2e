"""Questions and ids as they are sent."""

from __future__ import annotations

import numpy as np
import pytest

from organseg.errors import QuestionError
from organseg.imaging.limits import MAX_QUERY_BYTES
from organseg_client.images import encode_image
from organseg_client.request import build_request, encode_question


def test_a_question_is_sent_as_utf8_and_bytes_of_it_are_the_same() -> None:
    question = "Où est la vésicule biliaire ?"
    assert encode_question(question) == question.encode("utf-8")
    assert encode_question(question.encode()) == encode_question(question)


def test_the_longest_question_is_counted_in_bytes() -> None:
    assert len(encode_question("é" * (MAX_QUERY_BYTES // 2))) == MAX_QUERY_BYTES
    with pytest.raises(QuestionError, match=f"at most {MAX_QUERY_BYTES} bytes"):
        encode_question("é" * (MAX_QUERY_BYTES // 2) + "?")


@pytest.mark.parametrize("question", ["", " ", "\n\t", "\u200b\u00a0", b"", b" "])
def test_an_empty_question_is_refused_also_where_its_blanks_are_invisible(question: str) -> None:
    with pytest.raises(QuestionError, match="wanted a question"):
        encode_question(question)


@pytest.mark.parametrize("question", ["x" * 100_000, b"\xff\xfe", "lone \ud800", None, 7, ["a"]])
def test_what_is_no_question_is_refused_without_repeating_it(question: object) -> None:
    with pytest.raises(QuestionError, match="wanted a question") as caught:
        encode_question(question)  # type: ignore[arg-type]
    assert "xxx" not in str(caught.value)
    assert "lone" not in str(caught.value).replace("lone surrogate", "")


def test_a_request_says_how_large_the_masks_of_all_organs_would_be() -> None:
    for image in (np.zeros((30, 50), dtype=np.uint8), np.zeros((30, 50), dtype=np.int16)):
        request = build_request(encode_image(image), b"liver", 10.0, "x")
        assert request.output_bytes == {"MASKS": 13 * 30 * 50}
    assert build_request(encode_image(b"no image"), b"liver", 10.0, "x").output_bytes == {}
