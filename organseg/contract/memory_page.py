"""Renders `docs/memory.md`: which GPU holds which preset, and in which batches."""

from __future__ import annotations

from collections.abc import Sequence

from organseg.contract.explanation import MOST_TOKENS, Explanations
from organseg.contract.language_model import LanguageModelWeights
from organseg.contract.memory import (
    CONTEXT_BYTES,
    GPU_CLASSES,
    OPENING_TOKENS,
    PROCESSES,
    USABLE,
    GpuClass,
    Part,
    budget,
    explanation_parts,
    host_bytes,
    largest_batch,
    total_bytes,
)
from organseg.contract.parameters import language_model_parameters, vision_language_parameters
from organseg.contract.presets import LLAVA_MED_7B, PRESETS, Preset

CHOICES = (
    LanguageModelWeights.FP32,
    LanguageModelWeights.BF16,
    LanguageModelWeights.INT8,
    LanguageModelWeights.INT4,
)
"""The columns; fp16 takes what bf16 does."""

_HEADINGS = {LanguageModelWeights.BF16: "bf16, fp16"}

SPREADS = (2, 4)
"""Numbers of GPUs that the page spreads the language model over."""

_INTRODUCTION = """<!-- Rendered by `make contract`; edit organseg/contract instead. -->
# GPU memory

What a server takes of a GPU, by the type of the language model's weights (`python -m export
--language-model`). **Weights are counted, activations are estimated**: from the sizes of what is
alive at the worst moment, not measured on a GPU. The worst is meant throughout: the longest prompt,
all organs in one question, graphs in float32, every stage at work on a full batch at once, and an
image encoder whose attention is kept as it is written. A TensorRT engine, `--precision`, short
questions and few organs take less.

A card is planned with {usable:.0%} of its nominal memory; {processes} processes take
{context} MiB each for CUDA itself, which is an assumption. Batches are Triton's: what is beyond the
largest that fits here may run out of memory under load.

Formulas, in numbers of the type that the part computes in (B requests):

| activations of | formula | letters |
|---|---|---|
| language model | B T (2 D + 3 M), and one linear layer widened where it is quantised | T longest \
prompt, D width, M feed-forward width |
| CLIP tower | B (P + 1) ((L + 3) W + 2 M) | P patches, L layers, W width |
| ResNet tower | 3 B W (V / 2)^2 | W the stem's channels, V pixels a side |
| image encoder | B (2 h G^4 + 6 G^2 W) | h heads, G patches a side, W width |
| mask decoder | 9 B K G^2 C | K prompts, C channels |
| extractors | 3 B P c^2 k | c cells a side, k channels of a kernel |

The head that writes text stays in the host's memory. **Images kept** are what is computed of an
image once for all questions about it (`--image-features reuse`, the default): the bounds of both
stages, full, and the keys and values of a batch joined, 2 B L T D k / h numbers (k of h heads have
keys and values). A release exported with `--image-features direct` takes none of these three rows,
which is what to choose where a card is a little too small. **Explanations** (`python -m export
--explanations`) are a process of their own with a second copy of the language model, its head, and
the keys and values of one request: 2 L T D k / h numbers (T is the longest prompt, {opening} tokens
of written beginning and {most} of explanation). Without a GPU it reads its weights when it is first
asked, into as much of the host's memory as the table has; until then it holds none.
"""


def render_memory() -> str:
    """The whole page as Markdown, ending in a newline."""
    lines = [
        _INTRODUCTION.format(
            usable=USABLE,
            processes=PROCESSES,
            context=CONTEXT_BYTES >> 20,
            opening=OPENING_TOKENS,
            most=MOST_TOKENS,
        )
    ]
    for preset in reversed(PRESETS.values()):
        lines += [
            f"## `{preset.name}`",
            "",
            _weights_sentence(preset),
            "",
            *_parts_table(preset),
            "",
            f"The largest batch that fits, of at most {preset.max_batch}, with explanations (in "
            "brackets: without, where that is another):",
            "",
            *_cards_table(preset),
            "",
        ]
        if preset is LLAVA_MED_7B:
            lines += [
                "The same on each of several GPUs, the language model spread over them "
                "(`--placement spread`); the other stages have an instance on each:",
                "",
                *_spread_table(preset),
                "",
            ]
    return "\n".join(lines[:-1]) + "\n"


def _weights_sentence(preset: Preset) -> str:
    size = preset.vision_language
    host = ", ".join(f"{_name(each)} {_gib(host_bytes(size, each))}" for each in CHOICES)
    return (
        f"{vision_language_parameters(size):,} weights in the vision-language model, "
        f"{language_model_parameters(size):,} of them in the language model without its head. "
        f"Loading takes of the host's memory, in GiB: {host}; with explanations, twice that."
    )


def _parts_table(preset: Preset) -> list[str]:
    batch = preset.max_batch
    flow = [budget(preset, weights) for weights in CHOICES]
    beside = [explanation_parts(preset, weights) for weights in CHOICES]
    whole = [(*own, *more) for own, more in zip(flow, beside, strict=True)]
    return [
        f"| GiB, batch of {batch} | " + " | ".join(map(_name, CHOICES)) + " |",
        "|---|" + "--:|" * len(CHOICES),
        *_part_rows(flow, batch),
        _sum_row("all", flow, batch),
        _sum_row("all, batch of 1", flow, 1),
        *_part_rows(beside, batch),
        _sum_row("all with explanations", whole, batch),
        _sum_row("all with explanations, batch of 1", whole, 1),
    ]


def _part_rows(budgets: Sequence[tuple[Part, ...]], batch: int) -> list[str]:
    return [
        f"| {parts[0].name} | "
        + " | ".join(_gib(total_bytes((part,), batch)) for part in parts)
        + " |"
        for parts in zip(*budgets, strict=True)
    ]


def _sum_row(name: str, budgets: Sequence[tuple[Part, ...]], batch: int) -> str:
    sums = " | ".join(_gib(total_bytes(parts, batch)) for parts in budgets)
    return f"| **{name}** | {sums} |"


def _cards_table(preset: Preset) -> list[str]:
    return [
        "| GPU | " + " | ".join(map(_name, CHOICES)) + " |",
        "|---|" + "--:|" * len(CHOICES),
        *(
            f"| {gpu.gigabytes} GB ({gpu.cards}) | "
            + " | ".join(_batch(preset, weights, gpu, 1) for weights in CHOICES)
            + " |"
            for gpu in GPU_CLASSES
        ),
    ]


def _spread_table(preset: Preset) -> list[str]:
    return [
        "| GPUs | " + " | ".join(map(_name, CHOICES)) + " |",
        "|---|" + "--:|" * len(CHOICES),
        *(
            f"| {count} × {gpu.gigabytes} GB ({gpu.cards}) | "
            + " | ".join(_batch(preset, weights, gpu, count) for weights in CHOICES)
            + " |"
            for gpu in GPU_CLASSES[:2]
            for count in SPREADS
        ),
    ]


def _batch(preset: Preset, weights: LanguageModelWeights, gpu: GpuClass, gpus: int) -> str:
    """The largest batch with explanations and, where it is another, without."""
    explaining, alone = (
        str(largest_batch(preset, weights, gpu, gpus=gpus, explanations=each) or "does not fit")
        for each in (Explanations.INCLUDE, Explanations.LEAVE_OUT)
    )
    return explaining if explaining == alone else f"{explaining} ({alone})"


def _name(weights: LanguageModelWeights) -> str:
    return _HEADINGS.get(weights, weights.value)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
