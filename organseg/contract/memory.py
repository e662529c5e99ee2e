"""How much GPU memory a preset takes, by the type of the language model's weights.

Weights are counted exactly. Activations are estimates from the sizes of what is alive at the worst
moment, each with its formula beside it; nobody measured them on a GPU. The worst is taken: the
longest prompt, the most organs in a question, float32 graphs, every stage at work at once, and an
engine that keeps attention as it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from organseg.contract.explanation import MOST_TOKENS, Explanations
from organseg.contract.keeping import ImageFeatures, kept_bytes_of
from organseg.contract.language_model import LanguageModelWeights
from organseg.contract.models import EXPLAIN_NAME, FEATURES_NAME
from organseg.contract.parameters import (
    decoder_linears,
    embedding_parameters,
    extractor_parameters,
    image_encoder_parameters,
    mask_decoder_parameters,
    norm_parameters,
    projector_parameters,
    tower_parameters,
)
from organseg.contract.presets import (
    ClipSize,
    ExtractorSize,
    Preset,
    SegmenterSize,
    VisionLanguageSize,
)
from organseg.contract.verdicts import PROMPT_COUNTS

GRAPH_BYTES = 4
"""Bytes of a number in the graphs, float32: those in half precision take less."""
CONTEXT_BYTES = 512 << 20
"""What a process takes of a GPU before it has a model: CUDA's context and its libraries' rooms. An
assumption: it differs by driver and GPU."""
PROCESSES = 2
"""The server with its engines, and the language model's own; those of explanations and of kept
embeddings come on top."""
OPENING_TOKENS = 256
"""Room for an explained answer's written beginning, which all 13 organs do not fill."""
USABLE = 0.9
"""The share of a card's nominal memory that is planned with: error correction, the driver and
fragments take the rest."""
BLOCK = 64
"""Weights that share a scale in int4, which is NF4's default."""
BLOCKS = 256
"""Scales that share a scale of their own in int4."""


@dataclass(frozen=True)
class GpuClass:
    """GPUs of one size of memory."""

    gigabytes: int
    """Nominal memory, in units of 10^9 bytes."""
    cards: str
    """Cards of the class."""

    @property
    def usable_bytes(self) -> int:
        """What is planned with."""
        return int(USABLE * self.gigabytes * 1e9)


GPU_CLASSES = (
    GpuClass(16, "T4"),
    GpuClass(24, "L4, A10"),
    GpuClass(40, "A100"),
    GpuClass(48, "L40S"),
    GpuClass(80, "A100, H100"),
    GpuClass(141, "H200"),
)
"""What servers have."""


@dataclass(frozen=True)
class Part:
    """One share of a GPU's memory."""

    name: str
    """What it is for."""
    fixed_bytes: int
    """What it takes whatever the batch."""
    request_bytes: int
    """What it takes beside for every request of a batch."""


def budget(
    preset: Preset,
    weights: LanguageModelWeights,
    *,
    gpus: int = 1,
    explanations: Explanations = Explanations.LEAVE_OUT,
    image_features: ImageFeatures = ImageFeatures.REUSE,
) -> tuple[Part, ...]:
    """The parts of one GPU's memory.

    Args:
        preset: the sizes.
        weights: what the language model is kept in.
        gpus: how many GPUs the language model is spread over. Each has an even share of it, and
            one part that could not be divided; the other stages have an instance on each.
        explanations: whether the release has the model that explains, spread as the other is.
        image_features: whether the release keeps what it computed of images.
    """
    size = preset.vision_language
    share, tower = _share_and_tower(size, weights, gpus)
    widened = _widened(size, weights)
    parts: tuple[Part, ...] = (
        Part("language model, weights", share, 0),
        Part("vision tower and projector, weights", tower, 0),
        Part("language model, activations", widened, language_activations(size, weights)),
        Part("vision tower, activations", 0, tower_activations(size, weights)),
        Part(
            "image encoder",
            image_encoder_parameters(preset.segmenter) * GRAPH_BYTES,
            encoder_activations(preset.segmenter),
        ),
        Part(
            "mask decoder",
            mask_decoder_parameters(preset.segmenter) * GRAPH_BYTES,
            decoder_activations(preset.segmenter),
        ),
        Part(
            "extractors",
            extractor_parameters(preset.extractors, size) * GRAPH_BYTES,
            extractor_activations(preset.extractors, size),
        ),
        Part("CUDA contexts", PROCESSES * CONTEXT_BYTES, 0),
    )
    if image_features is ImageFeatures.REUSE:
        parts += kept_parts(preset, weights, gpus=gpus)
    if explanations is Explanations.INCLUDE:
        parts += explanation_parts(preset, weights, gpus=gpus)
    return parts


def kept_parts(preset: Preset, weights: LanguageModelWeights, *, gpus: int = 1) -> tuple[Part, ...]:
    """What is kept of images on one GPU, when it is full, and what working with it takes.

    A batch's keys and values are joined for it: L T D k / h pairs a request, T the longest prompt.
    """
    size = preset.vision_language
    joined = key_value_bytes(size, weights, size.max_tokens) // gpus
    return (
        Part("images kept, embeddings", kept_bytes_of(preset, FEATURES_NAME, weights), 0),
        Part(
            "images kept, states, keys and values",
            kept_bytes_of(preset, "llava_med", weights) // gpus,
            joined,
        ),
        Part("images kept, CUDA context", CONTEXT_BYTES, 0),
    )


def explanation_parts(
    preset: Preset, weights: LanguageModelWeights, *, gpus: int = 1
) -> tuple[Part, ...]:
    """What explanations take of one GPU: a second model that answers one request at a time."""
    size = preset.vision_language
    share, tower = _share_and_tower(size, weights, gpus)
    tokens = size.max_tokens + OPENING_TOKENS + MOST_TOKENS
    at_work = key_value_bytes(size, weights, tokens) + language_activations(size, weights)
    at_work += tower_activations(size, weights) + _widened(size, weights)
    return (
        Part("explanations, weights", share + tower + _own_head(size, weights), 0),
        Part("explanations, keys, values and activations", at_work, 0),
        Part("explanations, CUDA context", CONTEXT_BYTES, 0),
    )


def stage_weight_bytes(preset: Preset, name: str, weights: LanguageModelWeights) -> int:
    """What a model's weights take where it runs, whole; 0 for one that has none."""
    size = preset.vision_language
    graphs = {
        "image_encoder": image_encoder_parameters(preset.segmenter),
        "mask_decoder": mask_decoder_parameters(preset.segmenter),
        "extractors": extractor_parameters(preset.extractors, size),
    }
    if name == "llava_med":
        return kept_weight_bytes(size, weights)
    if name == EXPLAIN_NAME:
        return kept_weight_bytes(size, weights) + _own_head(size, weights)
    return graphs.get(name, 0) * GRAPH_BYTES


def total_bytes(parts: tuple[Part, ...], batch: int) -> int:
    """What all parts take with a batch of so many requests in every stage."""
    return sum(part.fixed_bytes + batch * part.request_bytes for part in parts)


def largest_batch(
    preset: Preset,
    weights: LanguageModelWeights,
    gpu: GpuClass,
    *,
    gpus: int = 1,
    explanations: Explanations = Explanations.LEAVE_OUT,
    image_features: ImageFeatures = ImageFeatures.REUSE,
) -> int:
    """The most requests, up to the preset's limit, whose batch fits; 0 where none does."""
    parts = budget(
        preset, weights, gpus=gpus, explanations=explanations, image_features=image_features
    )
    room = gpu.usable_bytes - total_bytes(parts, 0)
    each = sum(part.request_bytes for part in parts)
    return max(0, min(preset.max_batch, room // each))


def kept_weight_bytes(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    """Bytes of the vision-language model's weights without its head, as they are kept."""
    return sum(_language_weights(size, weights))


def host_bytes(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    """What loading takes of the host's memory: all weights, not yet quantised, head included."""
    unquantised = LanguageModelWeights.FP16 if weights.is_quantised else weights
    return kept_weight_bytes(size, unquantised) + _own_head(size, weights)


def key_value_bytes(size: VisionLanguageSize, weights: LanguageModelWeights, tokens: int) -> int:
    """Keys and values of so many tokens: 2 L T D k / h numbers.

    Those of image and fixed text are kept; an explanation keeps those of its prompt and of its
    words while it is written.
    """
    grouped = size.width * size.key_value_heads // size.heads
    return 2 * size.depth * tokens * grouped * _width(weights)


def language_activations(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    """An estimate for one prompt: T (2 D + 3 M) numbers.

    At the worst moment, in a block's feed-forward layers, there are the residual states and their
    norm, and three times the hidden width. Attention is computed in pieces and keeps no T x T.
    """
    return size.max_tokens * (2 * size.width + 3 * size.mlp) * _width(weights)


def tower_activations(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    """An estimate for one image.

    CLIP: P ((L + 3) W + 2 M) numbers, as transformers keeps the states of every layer until the
    last is done. ResNet: 3 W (V / 2)^2, its stem before it is pooled.
    """
    tower = size.tower
    if isinstance(tower, ClipSize):
        numbers = (size.patches + 1) * ((tower.depth + 3) * tower.width + 2 * tower.mlp)
    else:
        numbers = 3 * tower.stem * (size.image_size // 2) ** 2
    return numbers * _width(weights)


def encoder_activations(size: SegmenterSize) -> int:
    """An estimate for one image: 2 h G^4 + 6 G^2 W numbers, G^2 patches.

    In a global block, attention's scores before and behind the softmax or the relative positions,
    which keep it from being computed in pieces.
    """
    patches = size.grid**2
    return (2 * size.heads * patches**2 + 6 * patches * size.width) * GRAPH_BYTES


def decoder_activations(size: SegmenterSize) -> int:
    """An estimate for one request with the most organs: 9 K G^2 C numbers.

    The image's states four times in the transformer, then upscaled: a quarter of the channels at
    four times the places, an eighth at sixteen times, before and behind its nonlinearity.
    """
    states = size.grid**2 * size.channels
    return PROMPT_COUNTS[-1] * 9 * states * GRAPH_BYTES


def extractor_activations(size: ExtractorSize, states: VisionLanguageSize) -> int:
    """An estimate for one request: 3 P c^2 k numbers, the patches spread over their cells."""
    return 3 * states.patches * size.cells**2 * size.kernel * GRAPH_BYTES


def _language_weights(
    size: VisionLanguageSize, weights: LanguageModelWeights
) -> tuple[int, int, int]:
    """Bytes of the decoder's linear layers, of the rest of the language model, of the tower."""
    linears = sum(
        _linear_bytes(inputs, outputs, weights)
        for inputs, outputs in decoder_linears(size).values()
    )
    width = _width(weights)
    rest = (embedding_parameters(size) + norm_parameters(size)) * width
    tower = (tower_parameters(size) + projector_parameters(size)) * width
    return size.depth * linears, rest, tower


def _share_and_tower(
    size: VisionLanguageSize, weights: LanguageModelWeights, gpus: int
) -> tuple[int, int]:
    """Bytes of one GPU's share of the language model, and of the vision tower with projector."""
    blocks, rest, tower = _language_weights(size, weights)
    undivided = embedding_parameters(size) * _width(weights) if gpus > 1 else 0
    return (blocks + rest) // gpus + undivided, tower


def _own_head(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    """Bytes of the language-model head, where it is not the token embeddings."""
    return 0 if size.tied_embeddings else embedding_parameters(size) * _width(weights)


def _widened(size: VisionLanguageSize, weights: LanguageModelWeights) -> int:
    return _widest_linear(size) * _width(weights) if weights.is_quantised else 0


def _linear_bytes(inputs: int, outputs: int, weights: LanguageModelWeights) -> int:
    count = inputs * outputs
    if weights is LanguageModelWeights.INT8:
        # A float16 scale for every row.
        return count + 2 * outputs
    if weights is LanguageModelWeights.INT4:
        scales = ceil(count / BLOCK)
        return ceil(count / 2) + scales + 4 * ceil(scales / BLOCKS)
    return count * _width(weights)


def _widest_linear(size: VisionLanguageSize) -> int:
    """The largest layer: its weights are widened for a product, and stand alone when loaded."""
    return max(inputs * outputs for inputs, outputs in decoder_linears(size).values())


def _width(weights: LanguageModelWeights) -> int:
    """Bytes of a number that is not quantised."""
    return 4 if weights is LanguageModelWeights.FP32 else 2
