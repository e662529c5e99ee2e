"""The 7B's own keys and shapes, on the meta device, and how much memory a sharded one takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import prod

import pytest
import torch
from llava_med_layout import LLAVA_MED_V15, LlavaMedSizes, microsoft_layout
from safetensors.torch import save_file
from transformers import LlavaForConditionalGeneration

from organseg.contract import LLAVA_MED_7B
from organseg.errors import CheckpointError
from organseg.networks.build import stand_in_tokenizer
from organseg.networks.original_checkpoints import put_llava_med
from organseg.networks.vision_language import llava_config

SIZE = LLAVA_MED_7B.vision_language
PADDED = {"model.language_model.embed_tokens.weight", "lm_head.weight"}


def without_memory() -> LlavaForConditionalGeneration:
    with torch.device("meta"):
        return LlavaForConditionalGeneration(llava_config(SIZE, image_token_id=32000))


def put(llava, layout) -> None:
    tensors = ((name, torch.empty(shape, device="meta")) for name, shape in layout.items())
    put_llava_med(llava, tensors, SIZE, "the 7B", torch.bfloat16)


def test_the_layout_of_the_7b_is_as_large_as_it_is_known_to_be():
    layout = microsoft_layout()
    # 291 tensors of Mistral 7B with 7,241,732,096 weights, and CLIP ViT-L/14-336's tower.
    language = {n: s for n, s in layout.items() if "vision_tower" not in n and "mm_" not in n}
    assert len(language) == 291
    assert sum(map(prod, language.values())) == 7_241_732_096
    tower = {name: shape for name, shape in layout.items() if "vision_tower" in name}
    assert len(tower) == 391
    assert sum(map(prod, tower.values())) == 303_507_456


def test_every_key_of_the_7b_finds_its_one_weight_and_none_is_left():
    llava = without_memory()
    before = {name: tuple(weight.shape) for name, weight in llava.state_dict().items()}
    layout = microsoft_layout()
    assert len(before) == len(layout)
    put(llava, layout)
    after = llava.state_dict()
    assert {name: tuple(weight.shape) for name, weight in after.items()} == before
    # Weights that were put there are of the type asked for; any other would be float32 still.
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    assert all(weight.is_meta for weight in after.values())
    assert {name for name, shape in before.items() if shape[0] == SIZE.vocabulary} == PADDED
    assert LLAVA_MED_V15.vocabulary < SIZE.vocabulary


@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.mm_projector.2.bias", "model.layers.31.mlp.up_proj.weight"]
)
def test_a_7b_that_lacks_a_weight_is_refused_by_its_name(name):
    layout = microsoft_layout()
    del layout[name]
    last = name.split(".", 2)[2]
    with pytest.raises(CheckpointError, match="1 missing") as refused:
        put(without_memory(), layout)
    assert last.removeprefix("2.") in str(refused.value)


def test_a_7b_of_another_shape_is_refused_with_the_shape():
    layout = microsoft_layout(replace(LLAVA_MED_V15, key_value_heads=32))
    with pytest.raises(CheckpointError, match=r"64 unexpected.*\(4096, 4096\)"):
        put(without_memory(), layout)


# Large enough that a shard more or less stands out from what Python itself takes.
LARGE = LlavaMedSizes(
    width=1024,
    depth=5,
    heads=8,
    key_value_heads=4,
    mlp=2816,
    vocabulary=30528,
    tower_width=64,
    tower_depth=2,
    tower_mlp=128,
    image_size=64,
    patch_size=16,
)
SHARDS = 6
_LOAD = """
import sys
from dataclasses import replace
from pathlib import Path
from organseg.contract import TINY
from organseg.contract.presets import ClipSize
from organseg.networks.original_checkpoints import load_llava_med
size = replace(
    TINY.vision_language, image_size=64, patch_size=16, width=1024, depth=5, heads=8,
    key_value_heads=4, mlp=2816, tied_embeddings=False,
    tower=ClipSize(width=64, depth=2, heads=2, mlp=128),
)
def kibibytes(name):
    # getrusage would count the memory of the process that started this one, too.
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])
before = kibibytes("VmRSS")
loaded = load_llava_med(Path(sys.argv[1]), size)
bytes_kept = sum(w.numel() * w.element_size() for w in loaded.llava.parameters())
print(bytes_kept, (kibibytes("VmHWM") - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_sharded_checkpoint_takes_the_model_and_one_shard_of_memory(tmp_path):
    layout = microsoft_layout(LARGE)
    names = sorted(layout)
    shards = [names[start::SHARDS] for start in range(SHARDS)]
    weight_map, stored, largest = {}, 0, 0
    for number, part in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{SHARDS:05d}.safetensors"
        tensors = {each: torch.ones(layout[each], dtype=torch.float16) for each in part}
        save_file(tensors, str(tmp_path / name))
        weight_map |= dict.fromkeys(part, name)
        size = (tmp_path / name).stat().st_size
        stored, largest = stored + size, max(largest, size)
    index = {"metadata": {"total_size": stored}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "hidden_size": LARGE.width,
        "num_hidden_layers": LARGE.depth,
        "num_attention_heads": LARGE.heads,
        "num_key_value_heads": LARGE.key_value_heads,
        "intermediate_size": LARGE.mlp,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "bos_token_id": 1,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    stand_in_tokenizer()[0].save(str(tmp_path / "tokenizer.json"))
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD, str(tmp_path)], capture_output=True, text=True, check=True
    )
    kept, peak = map(int, ran.stdout.split())
    assert kept > 400e6
    # A peak of less than the model would be a measurement gone wrong.
    assert peak > 0.9 * kept
    # The files have half the model's bytes: all of them at once would stand out.
    assert peak < kept + largest + 40e6 < kept + stored
