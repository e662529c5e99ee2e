"""MedSAM: SAM's image encoder, prompt encoder and mask decoder, batched as images × boxes.

The three modules are segment-anything's, under its own names, so that `medsam_vit_b.pth` loads
as it is. What is ours is the decoder's batching: the stock code takes one image with many
prompts, this takes B images with K boxes each in one graph.

Sources: Kirillov et al., Segment Anything (2023); Ma et al., Segment Anything in Medical
Images (2024), whose pre-processing is min-max to [0, 1] with no mean or deviation.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from organseg.contract.presets import SegmenterSize
from organseg.networks.segment_anything_parts import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)


class Segmenter(nn.Module):
    """Encodes an image once and draws a mask for each box on it."""

    def __init__(self, size: SegmenterSize) -> None:
        """Builds the modules with SAM's own initialisation."""
        super().__init__()
        self.size = size
        self.image_encoder = ImageEncoderViT(
            img_size=size.image_size,
            patch_size=size.patch_size,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            mlp_ratio=4,
            out_chans=size.channels,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=size.window,
            global_attn_indexes=size.global_blocks,
        )
        self.prompt_encoder = PromptEncoder(
            embed_dim=size.channels,
            image_embedding_size=(size.grid, size.grid),
            input_image_size=(size.image_size, size.image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=size.channels,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=size.channels, num_heads=8, mlp_dim=size.decoder_mlp
            ),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )

    def encode_image(self, sam_pixels: Tensor) -> Tensor:
        """The image embedding.

        Args:
            sam_pixels: uint8 [B, S, S], grey levels stretched to 0..255.

        Returns:
            float [B, C, G, G], where G = S / patch size.
        """
        weights = self.image_encoder.patch_embed.proj.weight
        grey = sam_pixels.to(weights.dtype) / 255.0
        embedding: Tensor = self.image_encoder(grey.unsqueeze(1).expand(-1, 3, -1, -1))
        return embedding

    def embed_boxes(self, boxes: Tensor) -> Tensor:
        """The prompt encoder's two corner tokens per box.

        The same numbers as `PromptEncoder._embed_boxes`, without its writes into slices, which
        export as ScatterND. The sine and cosine stay in float32 whatever the weights' type.

        Args:
            boxes: float32 [N, 4], x1 y1 x2 y2 as fractions of the image.

        Returns:
            float [N, 2, C].
        """
        # SAM shifts pixel coordinates by half a pixel before it divides by the image's side.
        corners = boxes.float().reshape(-1, 2, 2) + 0.5 / self.size.image_size
        positions: Tensor = self.prompt_encoder.pe_layer._pe_encoding(corners)
        kinds = torch.cat([self.prompt_encoder.point_embeddings[i].weight for i in (2, 3)])
        return positions.to(kinds.dtype) + kinds

    def decode_masks(self, image_embeddings: Tensor, prompt_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """A mask and its predicted quality for every box on every image.

        Equal to one call of SAM's decoder per image with `multimask_output=False`.

        Args:
            image_embeddings: float [B, C, G, G].
            prompt_boxes: float32 [B, K, 4], x1 y1 x2 y2 as fractions of the image.

        Returns:
            mask logits, float [B, K, 4G, 4G], and predicted IoU, float [B, K].
        """
        decoder = self.mask_decoder
        batch, prompts = prompt_boxes.shape[0], prompt_boxes.shape[1]
        sparse = self.embed_boxes(prompt_boxes.flatten(0, 1))
        output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat(
            [output_tokens.unsqueeze(0).expand(batch * prompts, -1, -1), sparse], dim=1
        )

        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        source = (image_embeddings + dense).unsqueeze(1).expand(-1, prompts, -1, -1, -1)
        positions = self.prompt_encoder.get_dense_pe().to(image_embeddings.dtype)
        # The positional encoding has batch 1 and broadcasts over all images and boxes.
        states, image_states = decoder.transformer(source.flatten(0, 1), positions, tokens)

        grid = self.size.grid
        image_states = image_states.transpose(1, 2).unflatten(2, (grid, grid))
        upscaled = decoder.output_upscaling(image_states)
        # Token 0 predicts quality; token 1 draws the single mask (multimask_output=False).
        kernel = decoder.output_hypernetworks_mlps[0](states[:, 1])
        masks = (kernel.unsqueeze(1) @ upscaled.flatten(2)).squeeze(1)
        side = self.size.mask_size
        quality = decoder.iou_prediction_head(states[:, 0])[:, 0]
        return masks.reshape(batch, prompts, side, side), quality.reshape(batch, prompts)
