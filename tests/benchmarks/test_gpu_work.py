"""Operations and bytes as they are counted, against sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.gpu.work import WorkCounter, count, edge_bytes
from export.precision import Precision
from organseg.contract import TINY, model_of
from organseg.networks.segmenter import Segmenter

LANGUAGE = TINY.vision_language
HEAD = LANGUAGE.width // LANGUAGE.heads
LAYER_WEIGHTS = (
    # Queries and outputs, keys and values, the gated feed-forward layer, two norms.
    2 * LANGUAGE.width**2
    + 2 * LANGUAGE.width * LANGUAGE.key_value_heads * HEAD
    + 3 * LANGUAGE.width * LANGUAGE.mlp
    + 2 * LANGUAGE.width
)
NORMS = 2 * LANGUAGE.width


@pytest.fixture(scope="module")
def counter() -> WorkCounter:
    return WorkCounter(TINY, torch.float32)


def language_operations(tokens: int, seen: int) -> int:
    """Of the language model over so many tokens that look at `seen`, itself included."""
    products = 2 * tokens * (LAYER_WEIGHTS - NORMS)
    attention = 2 * 2 * tokens * seen * LANGUAGE.width
    return LANGUAGE.depth * (products + attention)


def test_a_linear_layer_a_convolution_and_attention_are_counted_as_by_hand():
    with torch.device("meta"):
        linear, convolution = nn.Linear(5, 7), nn.Conv2d(3, 4, kernel_size=2, stride=2)
        rows, picture = torch.empty(11, 5), torch.empty(1, 3, 8, 8)
        states = torch.empty(1, 2, 6, 16)
    assert count(lambda: linear(rows)).operations == 2 * 11 * 5 * 7
    assert count(lambda: linear(rows)).weights == 5 * 7 + 7
    assert count(lambda: convolution(picture)).operations == 2 * (4 * 4 * 4) * (3 * 2 * 2)
    attention = count(lambda: functional.scaled_dot_product_attention(states, states, states))
    assert attention.operations == 2 * (2 * 6 * 6 * 16) * 2
    assert attention.weights == 0


def test_weights_are_counted_once_and_tables_that_are_looked_up_not_at_all():
    with torch.device("meta"):
        linear, table = nn.Linear(5, 5, bias=False), nn.Embedding(100, 5)
        rows = torch.zeros(3, dtype=torch.long)
    assert count(lambda: linear(linear(table(rows)))).weights == 25


def test_the_prefill_is_the_language_model_over_all_tokens_and_the_tower_once(counter):
    short, long = (counter.prefill(1, tokens) for tokens in (300, 400))
    expected = language_operations(400, 400) - language_operations(300, 300)
    assert long.operations - short.operations == expected
    tower = short.operations - language_operations(300, 300)
    assert 1.5e9 < tower < 2e9
    assert counter.prefill(4, 300).operations == 4 * short.operations
    assert counter.prefill(4, 300).weight_bytes == short.weight_bytes


def test_a_follow_up_costs_its_own_tokens_and_reads_the_kept_keys_and_values(counter):
    room = 35
    follow_up = counter.follow_up(2, room)
    # 349 tokens before the question and 35 of its own fill whole rows of 64.
    seen = counter.prefix_tokens + room
    assert seen % 64 == 0
    assert follow_up.operations == 2 * language_operations(room, seen)
    assert follow_up.weight_bytes == 4 * (LANGUAGE.depth * LAYER_WEIGHTS + LANGUAGE.width)
    kept = 2 * LANGUAGE.depth * LANGUAGE.key_value_heads * HEAD * seen
    assert follow_up.activation_bytes == 2 * 4 * (kept + LANGUAGE.width)


def test_the_image_encoder_reads_all_its_weights_once_and_the_decoder_none_of_them(counter):
    segmenter = Segmenter(TINY.segmenter)
    weights = sum(weight.numel() for weight in segmenter.image_encoder.parameters())
    encoder = counter.graph_stage("image_encoder", 1, Precision.FP32)
    assert encoder.weight_bytes == 4 * weights
    assert counter.graph_stage("image_encoder", 1, Precision.BF16).weight_bytes == 2 * weights
    others = sum(
        weight.numel()
        for part in (segmenter.prompt_encoder, segmenter.mask_decoder)
        for weight in part.parameters()
    )
    assert 0 < counter.graph_stage("mask_decoder", 1, Precision.FP32).weight_bytes < 4 * others


def test_the_bytes_at_a_stages_edge_are_those_of_its_tensors():
    encoder = model_of(TINY, "image_encoder")
    grey_levels, channels, grid = 256 * 256, 128, 32
    assert edge_bytes(encoder, 3) == 3 * (grey_levels + 2 * channels * grid * grid)
