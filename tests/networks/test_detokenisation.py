"""Text from tokens as they come: whole characters, and signs where readers expect them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from organseg.networks.build import stand_in_tokenizer
from organseg.networks.detokenisation import TextStream


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    stream = TextStream(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return [stream.step(token_id) for token_id in ids]


@pytest.fixture(scope="module")
def bytes_tokenizer() -> Tokenizer:
    """One token a byte, as the last resort of Mistral's vocabulary is."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={sign: index for index, sign in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_half_a_character_is_kept_back_until_it_is_whole(bytes_tokenizer):
    text = "Öl 漢 😀.\nNext line"
    found = pieces(bytes_tokenizer, text)
    assert "".join(found) == text
    assert len(found) == len(text.encode())
    assert all("\ufffd" not in piece for piece in found)
    assert found[0] == ""
    assert found[1] == "Ö"


@pytest.mark.parametrize(
    "text",
    [
        "It stores bile; it's a pear-shaped sac (about 3.5 cm) under the liver.",
        "Does it lie high? Yes: above the navel. Its wall is thin, 2 mm/3 mm.",
    ],
)
def test_a_vocabulary_without_capitals_gives_sentences_as_they_are_written(text):
    tokenizer, _, _ = stand_in_tokenizer()
    assert "".join(pieces(tokenizer, text)) == text


def test_control_tokens_are_not_shown():
    tokenizer, image_id, opening_id = stand_in_tokenizer()
    stream = TextStream(tokenizer)
    assert stream.step(opening_id) + stream.step(image_id) == ""
