"""The export targets: one module per graph stage, with the contract's types at its edges.

Each wraps a trained module as it is. `compute` works in the module's own type; `forward` adds
the casts to what travels between stages (half-precision states, float32 scores). There is no
second version of a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from organseg.contract import TINY, model_of
from organseg.networks.extractors import Extractors
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.segmenter import Segmenter


class GraphModule(nn.Module, ABC):
    """One graph stage, ready to be exported."""

    name: str
    """The stage's word, as the contract has it."""

    @abstractmethod
    def compute(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the contract's order, before the casts at the stage's edge."""

    def rounded(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the contract's types, which are the same for every preset."""
        declared = model_of(TINY, self.name).outputs
        return tuple(
            output.to(getattr(torch, str(tensor.dtype.numpy)))
            for output, tensor in zip(self.compute(*inputs), declared, strict=True)
        )


class ImageEncoderModule(GraphModule):
    """`image_encoder`: sam_pixels to image_embeddings."""

    name = "image_encoder"

    def __init__(self, segmenter: Segmenter) -> None:
        """Wraps the segmenter's encoder alone."""
        super().__init__()
        self.segmenter = segmenter

    def compute(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """uint8 [B, S, S] to float [B, C, G, G]."""
        (sam_pixels,) = inputs
        return (self.segmenter.encode_image(sam_pixels),)

    def forward(self, sam_pixels: Tensor) -> tuple[Tensor, ...]:
        """uint8 [B, S, S] to float16 [B, C, G, G]."""
        return self.rounded(sam_pixels)


class ExtractorsModule(GraphModule):
    """`extractors`: answer_state, patch_states to similarity, presence, boxes."""

    name = "extractors"

    def __init__(self, extractors: Extractors) -> None:
        """Wraps the heads."""
        super().__init__()
        self.extractors = extractors

    def compute(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Float [B, D] and [B, P, D] to float [B, 14], [B, 13], [B, 13, 4]."""
        own = self.extractors.organ_prototypes.dtype
        found = self.extractors(*(state.to(own) for state in inputs))
        return found.similarity, found.presence_logits.sigmoid(), found.boxes

    def forward(self, answer_state: Tensor, patch_states: Tensor) -> tuple[Tensor, ...]:
        """float16 [B, D] and [B, P, D] to float32 [B, 14], [B, 13], [B, 13, 4]."""
        return self.rounded(answer_state, patch_states)


class MaskDecoderModule(GraphModule):
    """`mask_decoder`: image_embeddings, prompt_boxes to low_res_masks, mask_quality."""

    name = "mask_decoder"

    def __init__(self, segmenter: Segmenter) -> None:
        """Wraps the segmenter's prompt encoder and decoder."""
        super().__init__()
        self.segmenter = segmenter

    def compute(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Float [B, C, G, G], float32 [B, K, 4] to float [B, K, 4G, 4G], [B, K]."""
        image_embeddings, prompt_boxes = inputs
        own = self.segmenter.prompt_encoder.no_mask_embed.weight.dtype
        return self.segmenter.decode_masks(image_embeddings.to(own), prompt_boxes)

    def forward(self, image_embeddings: Tensor, prompt_boxes: Tensor) -> tuple[Tensor, ...]:
        """float16 [B, C, G, G], float32 [B, K, 4] to float16 [B, K, 4G, 4G], float32 [B, K]."""
        return self.rounded(image_embeddings, prompt_boxes)


def graph_modules(organ_seg: OrganSeg) -> dict[str, GraphModule]:
    """The export target of every graph stage, by the stage's name."""
    modules: tuple[GraphModule, ...] = (
        ImageEncoderModule(organ_seg.segmenter),
        ExtractorsModule(organ_seg.extractors),
        MaskDecoderModule(organ_seg.segmenter),
    )
    return {module.name: module.eval() for module in modules}
