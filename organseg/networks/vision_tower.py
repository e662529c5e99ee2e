"""The vision tower: CLIP, as LLaVA-Med has it, or a ResNet for the small stand-in.

A ViT knows nothing of neighbourhood before it is taught; CLIP was, on hundreds of millions of
pictures. The stand-in has minutes and phantoms, and a ResNet learns places from them about ten
times as fast (docs/decisions/0013).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, CLIPVisionConfig, ResNetConfig, ResNetModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention

from organseg.contract.presets import ClipSize, VisionLanguageSize


class ResNetTowerConfig(ResNetConfig):  # type: ignore[no-untyped-call]
    """transformers' ResNet, with the sizes by which LLaVA knows a tower."""

    model_type = "organ_seg_resnet_tower"

    image_size: int = 256
    """Side of the square input, pixels."""
    patch_size: int = 16
    """Pixels from one feature to the next."""
    hidden_size: int = 128
    """Channels of the features."""


class ResNetTower(ResNetModel):  # type: ignore[no-untyped-call]
    """transformers' ResNet, whose last feature map is given row by row, as LLaVA reads it."""

    config_class = ResNetTowerConfig
    # It has no attention: whichever the language model is given will do.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def forward(
        self, pixel_values: Tensor, **ignored: Any
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Features float [B, P, C] from pixels float [B, 3, V, V].

        They are the only entry of `hidden_states`; there is no class token.
        """
        # Convolutions of a CPU and of tensor cores alike are fastest with channels last.
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        last = super().forward(pixel_values, return_dict=True).last_hidden_state
        rows = last.flatten(2).transpose(1, 2)
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=rows, hidden_states=(rows,)
        )


AutoConfig.register(ResNetTowerConfig.model_type, ResNetTowerConfig)
AutoModel.register(ResNetTowerConfig, ResNetTower)


def tower_config(size: VisionLanguageSize) -> CLIPVisionConfig | ResNetTowerConfig:
    """The tower's transformers configuration, of a preset's sizes."""
    tower = size.tower
    if isinstance(tower, ClipSize):
        return CLIPVisionConfig(
            image_size=size.image_size,
            patch_size=size.patch_size,
            hidden_size=tower.width,
            num_hidden_layers=tower.depth,
            num_attention_heads=tower.heads,
            intermediate_size=tower.mlp,
        )
    return ResNetTowerConfig(
        image_size=size.image_size,
        patch_size=size.patch_size,
        hidden_size=tower.widths[-1],
        embedding_size=tower.stem,
        hidden_sizes=list(tower.widths),
        depths=list(tower.depths),
        layer_type="basic",
    )


def feature_choice(size: VisionLanguageSize) -> dict[str, Any]:
    """Which of the tower's states LLaVA projects.

    CLIP's of the layer before the last, without the class token (LLaVA v1.5); a ResNet's last.
    """
    if isinstance(size.tower, ClipSize):
        return {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}
    return {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
