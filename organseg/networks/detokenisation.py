"""Text from tokens as they come, piece by piece: the pieces joined are the whole text.

A token may hold half a character; it is kept back until the rest has come. Word-piece vocabularies
have no capitals and put a blank before every sign: there, sentences get their capital and signs
their place.
"""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream, WordPiece

_ENDS = ".!?"
_TIGHT_AFTER = "-'/("
"""Signs that no blank follows."""
_TIGHT_BEFORE = "-'/).,;:!?%"
"""Signs that no blank stands before."""


class TextStream:
    """One text, token by token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Begins a text; control tokens in it are not shown."""
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._is_word_piece = isinstance(tokenizer.decoder, WordPiece)
        self._begins_sentence, self._is_tight = True, True
        self._last = ""

    def step(self, token_id: int) -> str:
        """What the next token adds; empty where it is the part of a character."""
        piece: str = self._stream.step(self._tokenizer, token_id) or ""
        return self._mended(piece) if self._is_word_piece else piece

    def _mended(self, piece: str) -> str:
        word = piece.lstrip(" ")
        if not word:
            return ""
        # The point of a number is a word of its own, like any other sign.
        in_number = word[0].isdecimal() and self._last[:1].isdecimal() and self._last[1:] == "."
        is_tight = self._is_tight or in_number or word[0] in _TIGHT_BEFORE
        blank = "" if is_tight else piece[: -len(word)]
        self._last = (self._last + word)[-2:]
        if self._begins_sentence and word[0].isalnum():
            word = word[0].upper() + word[1:]
        self._begins_sentence = word[-1] in _ENDS or (
            self._begins_sentence and not word[0].isalnum()
        )
        self._is_tight = word[-1] in _TIGHT_AFTER
        return blank + word
