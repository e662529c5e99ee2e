"""MedSAM as it is published: `medsam_vit_b.pth`, or the folder for transformers on the hub.

The `.pth` is a plain SAM state dict under segment-anything's names. `wanglab/medsam-vit-base`
holds the same weights under the names of transformers' `SamModel`, which are put back here.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from organseg.contract.presets import SegmenterSize
from organseg.errors import CheckpointError
from organseg.networks.segmenter import Segmenter
from organseg.networks.weight_files import read_pickle, read_safetensors

FILE_NAMES = ("medsam_vit_b.pth", "model.safetensors", "pytorch_model.bin")
"""What a folder with MedSAM holds, the first that is there counts."""
_PUBLISHED = "medsam_vit_b.pth"
_STATISTICS = ("pixel_mean", "pixel_std")
"""SAM's own statistics: MedSAM's pre-processing does not use them."""
_TRANSFORMERS_PREFIX = "vision_encoder."
_SHARED_POSITIONS = "shared_image_embedding."
"""A second copy of the prompt encoder's positions."""
_FROM_TRANSFORMERS = tuple(
    (re.compile(found), put)
    for found, put in (
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.neck\.conv1\.", ".neck.0."),
        (r"\.neck\.layer_norm1\.", ".neck.1."),
        (r"\.neck\.conv2\.", ".neck.2."),
        (r"\.neck\.layer_norm2\.", ".neck.3."),
        (
            r"shared_embedding\.positional_embedding$",
            "pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"\.point_embed\.", ".point_embeddings."),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        # Each small network has three layers: the middle ones first, or 0 would be taken twice.
        (r"(mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
        (r"(mlps\.\d|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
        (r"(mlps\.\d|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
    )
)
"""transformers' names and segment-anything's; all that fit count, in this order."""


def load_medsam(path: Path, size: SegmenterSize) -> Segmenter:
    """MedSAM, or any SAM of these sizes, in float32; nothing in its files is executed.

    Args:
        path: a `.pth`, `.bin` or `.safetensors` file, or a folder with one of `FILE_NAMES`; under
            segment-anything's names or transformers'.
        size: the preset's sizes.

    Raises:
        CheckpointError: the file is missing, damaged, holds code or has other sizes.
    """
    path = weights_file(path)
    found = _under_original_names(_read(path))
    segmenter = Segmenter(size)
    try:
        segmenter.load_state_dict(found, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"wanted SAM's weights of the preset's sizes in {path.name}, got others: {error}"
        ) from error
    return segmenter.eval()


def weights_file(path: Path) -> Path:
    """The file of weights that a path to MedSAM, a file or a folder, stands for.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not path.is_dir():
        return path
    for name in FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"wanted {', '.join(FILE_NAMES[:-1])} or {FILE_NAMES[-1]} in {path.name}, found none of "
        "them: name the .pth file itself, or give the folder as it is published"
    )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path))
    return read_pickle(path, _PUBLISHED)


def _under_original_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.startswith(_TRANSFORMERS_PREFIX) for name in weights):
        return {name: each for name, each in weights.items() if name not in _STATISTICS}
    renamed: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name.startswith(_SHARED_POSITIONS):
            # transformers may save the shared tensor once, under either name.
            name = "prompt_encoder.shared_embedding." + name.removeprefix(_SHARED_POSITIONS)
        for found, put in _FROM_TRANSFORMERS:
            name = found.sub(put, name)
        if name in renamed and not torch.equal(renamed[name], weight):
            raise CheckpointError(
                f"wanted one {name} in transformers' SAM, got two that differ: give the folder as "
                "it is published"
            )
        renamed[name] = weight
    return renamed
