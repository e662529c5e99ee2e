"""LLaVA-Med and MedSAM at toy width, in the layouts that their authors publish."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from organseg.networks.build import build_organ_seg
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.original_checkpoints import OriginalFiles

_TO_MICROSOFT = (
    ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
    ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
    ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ("model.language_model.", "model."),
)


def write_originals(folder: Path, preset) -> tuple[OriginalFiles, OrganSeg]:
    """Both originals of a preset with the weights that they were written from."""
    parts = build_organ_seg(preset, seed=5)
    llava_med = folder / "llava-med"
    llava_med.mkdir(parents=True)
    weights = {}
    for name, weight in parts.vision_language.llava.state_dict().items():
        for before, after in _TO_MICROSOFT:
            if name.startswith(before):
                name = after + name.removeprefix(before)
                break
        weights[name] = weight.detach().clone().contiguous()
    # What Microsoft's files hold besides, and nothing reads.
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        path = llava_med / f"model-{number:05d}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, str(path))
    size = preset.vision_language
    text = parts.vision_language.llava.config.text_config
    config = {
        "model_type": "llava_mistral",
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "intermediate_size": size.mlp,
        "vocab_size": size.vocabulary,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": 10000.0,
        "bos_token_id": text.bos_token_id,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
    }
    (llava_med / "config.json").write_text(json.dumps(config))
    parts.vision_language.prompts.tokenizer.save(str(llava_med / "tokenizer.json"))
    medsam = folder / "medsam_toy.pth"
    torch.save(parts.segmenter.state_dict(), medsam)
    return OriginalFiles(llava_med, medsam), parts
