"""How many weights each part has, counted from a preset's sizes alone.

The counts are exact: tests hold them against the modules themselves, built without memory.
"""

from __future__ import annotations

from organseg.contract.presets import (
    ClipSize,
    ExtractorSize,
    ResNetSize,
    SegmenterSize,
    VisionLanguageSize,
)


def tower_parameters(size: VisionLanguageSize) -> int:
    """Weights of the vision tower."""
    if isinstance(size.tower, ClipSize):
        return _clip(size, size.tower)
    return _resnet(size.tower)


def tower_width(size: VisionLanguageSize) -> int:
    """Channels of the vision tower's features."""
    return size.tower.width if isinstance(size.tower, ClipSize) else size.tower.widths[-1]


def projector_parameters(size: VisionLanguageSize) -> int:
    """Weights of the two layers between tower and language model."""
    return _linear(tower_width(size), size.width) + _linear(size.width, size.width)


def decoder_linears(size: VisionLanguageSize) -> dict[str, tuple[int, int]]:
    """The linear layers of one decoder block, which are quantised: inputs and outputs by name."""
    grouped = size.key_value_heads * size.width // size.heads
    return {
        "q_proj": (size.width, size.width),
        "k_proj": (size.width, grouped),
        "v_proj": (size.width, grouped),
        "o_proj": (size.width, size.width),
        "gate_proj": (size.width, size.mlp),
        "up_proj": (size.width, size.mlp),
        "down_proj": (size.mlp, size.width),
    }


def embedding_parameters(size: VisionLanguageSize) -> int:
    """Weights of the token embeddings; those of an untied language-model head are as many."""
    return size.vocabulary * size.width


def norm_parameters(size: VisionLanguageSize) -> int:
    """Weights of the language model's norms: two a block, one at the end."""
    return (2 * size.depth + 1) * size.width


def language_model_parameters(size: VisionLanguageSize) -> int:
    """Weights of the language model without its head."""
    block = sum(inputs * outputs for inputs, outputs in decoder_linears(size).values())
    return size.depth * block + embedding_parameters(size) + norm_parameters(size)


def vision_language_parameters(size: VisionLanguageSize) -> int:
    """All weights of the vision-language model, its head included where it has its own."""
    head = 0 if size.tied_embeddings else embedding_parameters(size)
    return (
        tower_parameters(size) + projector_parameters(size) + language_model_parameters(size) + head
    )


def image_encoder_parameters(size: SegmenterSize) -> int:
    """Weights of SAM's image encoder."""
    width, head = size.width, size.width // size.heads
    total = _linear(3 * size.patch_size**2, width) + size.grid**2 * width
    for block in range(size.depth):
        side = size.grid if block in size.global_blocks else size.window
        total += 2 * _norm(width) + _linear(width, 3 * width) + _linear(width, width)
        total += 2 * (2 * side - 1) * head
        total += _linear(width, 4 * width) + _linear(4 * width, width)
    neck = width * size.channels + 9 * size.channels**2 + 2 * _norm(size.channels)
    return total + neck


def mask_decoder_parameters(size: SegmenterSize) -> int:
    """Weights of SAM's mask decoder, without the prompt encoder's few thousand."""
    width = size.channels
    across = 3 * _linear(width, width // 2) + _linear(width // 2, width)
    layer = 4 * _linear(width, width) + 2 * across + 4 * _norm(width)
    layer += _linear(width, size.decoder_mlp) + _linear(size.decoder_mlp, width)
    tokens = 5 * width
    upscaling = _linear(width, width // 4, 4) + _norm(width // 4)
    upscaling += _linear(width // 4, width // 8, 4)
    kernels = 4 * (2 * _linear(width, width) + _linear(width, width // 8))
    quality = _linear(width, 256) + _linear(256, 256) + _linear(256, 4)
    return 2 * layer + across + _norm(width) + tokens + upscaling + kernels + quality


def extractor_parameters(size: ExtractorSize, states: VisionLanguageSize) -> int:
    """Weights of the two extractor heads."""
    width = size.width
    block = 3 * _norm(width) + 2 * _linear(width, width) + _linear(width, 2 * width)
    block += _linear(width, 4 * width) + _linear(4 * width, width)
    read = 2 * (_norm(states.width) + _linear(states.width, width))
    read += states.patches * width + _linear(size.text_width, width)
    spread = _norm(width) + _linear(width, 2 * width)
    spread += _linear(2 * width, size.cells**2 * size.kernel)
    kernel = _linear(width, size.kernel + 1)
    presence = _linear(width + 2, width // 2) + _linear(width // 2, 1)
    interest = _norm(states.width) + _linear(states.width, 2 * size.text_width)
    interest += _linear(2 * size.text_width, size.text_width)
    heads = read + 2 * size.depth * block + _norm(width) + spread + kernel + presence
    return heads + interest


def _clip(size: VisionLanguageSize, tower: ClipSize) -> int:
    width = tower.width
    block = 4 * _linear(width, width) + 2 * _norm(width)
    block += _linear(width, tower.mlp) + _linear(tower.mlp, width)
    # One token more than there are patches: the class token. Norms before and behind the blocks.
    places = (size.patches + 1) * width + width
    return 3 * size.patch_size**2 * width + places + tower.depth * block + 2 * _norm(width)


def _resnet(tower: ResNetSize) -> int:
    total = _convolution(3, tower.stem, 7)
    before = tower.stem
    for stage, (width, depth) in enumerate(zip(tower.widths, tower.depths, strict=True)):
        total += _convolution(before, width, 3) + (2 * depth - 1) * _convolution(width, width, 3)
        if before != width or stage:
            total += _convolution(before, width, 1)
        before = width
    return total


def _linear(inputs: int, outputs: int, taps: int = 1) -> int:
    return inputs * outputs * taps + outputs


def _convolution(inputs: int, outputs: int, side: int) -> int:
    """Without a bias, and with the norm behind it."""
    return inputs * outputs * side**2 + _norm(outputs)


def _norm(width: int) -> int:
    return 2 * width
