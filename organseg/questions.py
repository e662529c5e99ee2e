"""What a question may be: its bounds and its normal form, the same for client and server."""

from __future__ import annotations

import unicodedata

from organseg.errors import QuestionError
from organseg.imaging.limits import MAX_QUERY_BYTES


def read_question(query: bytes) -> str:
    """The question of a request in normal form: NFC, blanks collapsed, no control characters.

    Raises:
        QuestionError: the bytes are empty or all blanks, more than `MAX_QUERY_BYTES`, or not
            UTF-8.
    """
    _check_length(query)
    try:
        text = query.decode("utf-8")
    except UnicodeDecodeError as error:
        raise QuestionError(
            f"wanted a question in UTF-8, got bytes that are not, from byte {error.start} on: "
            "encode the text as UTF-8"
        ) from None
    # Control and format characters (zero-width joiners, direction marks) carry no meaning here.
    kept = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in text)
    normal = " ".join(unicodedata.normalize("NFC", kept).split())
    # Composing can lengthen: some signs are one code point and three in normal form.
    _check_length(normal.encode("utf-8"))
    if not normal:
        raise QuestionError(
            "wanted a question in words, got an empty one: ask, for example, "
            '"Which organ stores bile?"'
        )
    return normal


def _check_length(query: bytes) -> None:
    if len(query) > MAX_QUERY_BYTES:
        raise QuestionError(
            f"wanted a question of at most {MAX_QUERY_BYTES} bytes of UTF-8, got {len(query)}: "
            "shorten it"
        )
