"""The presets: three sets of sizes for one and the same code.

`tiny` is the embedded default, `medsam` the full-size MedSAM ViT-B beside the tiny language
model, `llava-med-7b` LLaVA-Med v1.5 beside MedSAM. Networks are built from these numbers and
tensors get their dimensions from them, so a size is written here and nowhere else.

Sources: SAM ViT-B's sizes from segment-anything `build_sam_vit_b`; LLaVA-Med v1.5's from its
published configuration (Mistral-7B, CLIP ViT-L/14 at 336 px), which is read again and compared
when a checkpoint is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from organseg.errors import ContractError


@dataclass(frozen=True)
class SegmenterSize:
    """Sizes of the segmenter: SAM's image encoder, prompt encoder and mask decoder."""

    image_size: int
    """Side of the square input, pixels."""
    patch_size: int
    """Side of a ViT patch, pixels."""
    width: int
    """ViT channels."""
    depth: int
    """ViT blocks."""
    heads: int
    """ViT attention heads."""
    window: int
    """Side of the windowed attention, patches."""
    global_blocks: tuple[int, ...]
    """Indices of the blocks that attend globally."""
    channels: int
    """Channels of the image embedding and of the prompt tokens."""
    decoder_mlp: int
    """Hidden width of the mask decoder's transformer."""

    @property
    def grid(self) -> int:
        """Side of the image embedding, patches."""
        return self.image_size // self.patch_size

    @property
    def mask_size(self) -> int:
        """Side of a low-resolution mask, pixels: four times the grid."""
        return 4 * self.grid


@dataclass(frozen=True)
class ClipSize:
    """Sizes of a CLIP vision tower, LLaVA-Med's own kind."""

    width: int
    """ViT channels."""
    depth: int
    """ViT blocks."""
    heads: int
    """ViT attention heads."""
    mlp: int
    """ViT hidden width."""


@dataclass(frozen=True)
class ResNetSize:
    """Sizes of a convolutional vision tower, which learns from few images."""

    stem: int
    """Channels after the stem, at a quarter of the resolution."""
    widths: tuple[int, ...]
    """Channels of each stage; the first keeps the stem's resolution, each further one halves it."""
    depths: tuple[int, ...]
    """Blocks of each stage."""


@dataclass(frozen=True)
class VisionLanguageSize:
    """Sizes of the vision-language model: a vision tower and a Mistral language model."""

    image_size: int
    """Side of the square input, pixels."""
    patch_size: int
    """Side of the square that one image token stands for, pixels."""
    tower: ClipSize | ResNetSize
    """The vision tower's sizes."""
    width: int
    """Language model channels: the width of the answer and patch states."""
    depth: int
    """Language model blocks."""
    heads: int
    """Language model attention heads."""
    key_value_heads: int
    """Language model key/value heads (grouped-query attention)."""
    mlp: int
    """Language model hidden width."""
    vocabulary: int
    """Token count of the language model, special tokens included."""
    max_tokens: int
    """Longest prompt, image tokens included."""
    tied_embeddings: bool
    """Whether the language-model head shares the token embeddings' weights."""

    @property
    def grid(self) -> int:
        """Image tokens along each side."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Number of image tokens."""
        return self.grid**2


@dataclass(frozen=True)
class ExtractorSize:
    """Sizes of the two extractor heads."""

    width: int
    """Channels of the Segment Information Extractor."""
    heads: int
    """Its attention heads."""
    depth: int
    """Its cross-attention blocks."""
    cells: int
    """Cells that a patch is divided into, along each axis, to read a box's edges from."""
    kernel: int
    """Channels of an organ's kernel over these cells."""
    text_width: int
    """Width of the text encoder's space, where F_t and the context cache live."""


@dataclass(frozen=True)
class Preset:
    """One complete set of sizes."""

    name: str
    """The name given to `--preset`."""
    segmenter: SegmenterSize
    """The segmenter's sizes."""
    vision_language: VisionLanguageSize
    """The vision-language model's sizes."""
    extractors: ExtractorSize
    """The extractor heads' sizes."""
    max_batch: int
    """Most requests that any stage joins into one batch."""
    doc: str
    """What the preset is for."""


_SAM_VIT_B = SegmenterSize(
    image_size=1024,
    patch_size=16,
    width=768,
    depth=12,
    heads=12,
    window=14,
    global_blocks=(2, 5, 8, 11),
    channels=256,
    decoder_mlp=2048,
)

_TINY_LLAVA = VisionLanguageSize(
    image_size=256,
    patch_size=16,
    tower=ResNetSize(stem=32, widths=(32, 64, 160), depths=(2, 3, 4)),
    width=256,
    depth=4,
    heads=4,
    key_value_heads=2,
    mlp=688,
    vocabulary=30528,
    max_tokens=2048,
    tied_embeddings=True,
)

TINY = Preset(
    name="tiny",
    segmenter=SegmenterSize(
        image_size=256,
        patch_size=8,
        width=160,
        depth=5,
        heads=4,
        window=8,
        global_blocks=(2,),
        channels=128,
        decoder_mlp=512,
    ),
    vision_language=_TINY_LLAVA,
    extractors=ExtractorSize(width=192, heads=6, depth=2, cells=4, kernel=48, text_width=384),
    max_batch=8,
    doc="The embedded default: every stage real and small; runs on two CPU cores.",
)

MEDSAM = Preset(
    name="medsam",
    segmenter=_SAM_VIT_B,
    vision_language=_TINY_LLAVA,
    extractors=ExtractorSize(width=192, heads=6, depth=2, cells=4, kernel=48, text_width=384),
    max_batch=4,
    doc="Full-size MedSAM ViT-B with the tiny language model: the largest that runs on a CPU.",
)

LLAVA_MED_7B = Preset(
    name="llava-med-7b",
    segmenter=_SAM_VIT_B,
    vision_language=VisionLanguageSize(
        image_size=336,
        patch_size=14,
        tower=ClipSize(width=1024, depth=24, heads=16, mlp=4096),
        width=4096,
        depth=32,
        heads=32,
        key_value_heads=8,
        mlp=14336,
        vocabulary=32064,
        max_tokens=2048,
        tied_embeddings=False,
    ),
    extractors=ExtractorSize(width=512, heads=8, depth=3, cells=4, kernel=64, text_width=384),
    max_batch=8,
    doc="LLaVA-Med v1.5 (Mistral 7B) with MedSAM ViT-B: the paper's models, for a GPU.",
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, MEDSAM, LLAVA_MED_7B)}


def preset_by_name(name: str) -> Preset:
    """The preset of this name; raises `ContractError` that lists the names there are."""
    if name not in PRESETS:
        raise ContractError(
            f"wanted one of the presets {', '.join(PRESETS)}, got {name!r}: choose one of these"
        )
    return PRESETS[name]
