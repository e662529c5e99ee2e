"""LLaVA-Med v1.5's weights as Microsoft's files name them: every key and its shape.

Written down from Mistral's, CLIP's and LLaVA's own code, from the sizes alone; nothing of
`organseg.networks.original_checkpoints` is used, which is held against it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LlavaMedSizes:
    """The numbers of Microsoft's config.json and of CLIP's; by default those of the 7B."""

    width: int = 4096
    depth: int = 32
    heads: int = 32
    key_value_heads: int = 8
    mlp: int = 14336
    vocabulary: int = 32000
    tower_width: int = 1024
    tower_depth: int = 24
    tower_mlp: int = 4096
    image_size: int = 336
    patch_size: int = 14


LLAVA_MED_V15 = LlavaMedSizes()


def microsoft_layout(sizes: LlavaMedSizes = LLAVA_MED_V15) -> dict[str, tuple[int, ...]]:
    """Every key of the published files and its shape."""
    return {**_mistral(sizes), **_projector(sizes), **_clip(sizes)}


def _mistral(sizes: LlavaMedSizes) -> dict[str, tuple[int, ...]]:
    width, mlp = sizes.width, sizes.mlp
    narrow = width // sizes.heads * sizes.key_value_heads
    found = {
        "model.embed_tokens.weight": (sizes.vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (sizes.vocabulary, width),
    }
    for layer in range(sizes.depth):
        found |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "self_attn.q_proj": (width, width),
                "self_attn.k_proj": (narrow, width),
                "self_attn.v_proj": (narrow, width),
                "self_attn.o_proj": (width, width),
                "mlp.gate_proj": (mlp, width),
                "mlp.up_proj": (mlp, width),
                "mlp.down_proj": (width, mlp),
                "input_layernorm": (width,),
                "post_attention_layernorm": (width,),
            }.items()
        }
    return found


def _projector(sizes: LlavaMedSizes) -> dict[str, tuple[int, ...]]:
    return {
        "model.mm_projector.0.weight": (sizes.width, sizes.tower_width),
        "model.mm_projector.0.bias": (sizes.width,),
        "model.mm_projector.2.weight": (sizes.width, sizes.width),
        "model.mm_projector.2.bias": (sizes.width,),
    }


def _clip(sizes: LlavaMedSizes) -> dict[str, tuple[int, ...]]:
    width, mlp = sizes.tower_width, sizes.tower_mlp
    places = (sizes.image_size // sizes.patch_size) ** 2 + 1
    tower = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, sizes.patch_size, sizes.patch_size),
        "embeddings.position_embedding.weight": (places, width),
    }
    # CLIP's first norm is misspelt in its own code.
    norms = {"pre_layrnorm": width, "post_layernorm": width}
    linear = {}
    for layer in range(sizes.tower_depth):
        block = f"encoder.layers.{layer}"
        norms |= {f"{block}.layer_norm{number}": width for number in (1, 2)}
        linear |= {f"{block}.self_attn.{n}_proj": (width, width) for n in ("k", "v", "q", "out")}
        linear |= {f"{block}.mlp.fc1": (mlp, width), f"{block}.mlp.fc2": (width, mlp)}
    for name, size in norms.items():
        tower |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for name, (rows, columns) in linear.items():
        tower |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    prefix = "model.vision_tower.vision_tower.vision_model."
    return {f"{prefix}{name}": shape for name, shape in tower.items()}
