"""One command from parts that lie apart to a release, and what it says of where they came from."""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import replace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from local_hub import LocalHub, Model, serve
from original_files import write_originals
from safetensors.torch import save_file
from training_toys import TOY_ORIGINAL

from export.__main__ import main
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_vision_language, save_checkpoint
from organseg.networks.hub import Hub
from organseg.networks.lora import add_lora
from organseg.serving.manifest import verify_release

PRESET = TOY_ORIGINAL
MEDSAM_ID = "wanglab/medsam-vit-base"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The originals, and what a training adds: an adapter and heads in folders of their own."""
    folder = tmp_path_factory.mktemp("parts")
    files, _ = write_originals(folder, PRESET)
    made = build_checkpoint(PRESET, seed=9)
    adapted = add_lora(made.organ_seg.vision_language.llava)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.add_(0.05)
    adapted.save_pretrained(str(folder / "adapter"))
    made = build_checkpoint(PRESET, seed=9)
    save_checkpoint(replace(made, card=replace(made.card, trained=True)), folder / "heads")
    return files, folder


@pytest.fixture
def toy(monkeypatch):
    """The command with toy sizes behind the name of the smallest preset."""
    monkeypatch.setattr("export.__main__.preset_by_name", lambda name: PRESET)


@pytest.mark.slow
def test_one_command_makes_a_release_of_parts_from_paths_and_from_the_hub(
    parts, toy, tmp_path, monkeypatch, capsys
):
    files, folder = parts
    medsam = files.medsam.read_bytes()
    hub = LocalHub({MEDSAM_ID: Model({"medsam_vit_b.pth": medsam}, licence="apache-2.0")})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    huggingface_hub.close_session()
    command = [
        *("--llava-med", str(files.llava_med), "--medsam", MEDSAM_ID),
        *("--adapter", str(folder / "adapter"), "--heads", str(folder / "heads")),
        *("--out", str(tmp_path / "release")),
    ]
    with serve(hub):
        here = Hub(hub.endpoint, tmp_path / "cache")
        monkeypatch.setattr("organseg.networks.sources.Hub", lambda: here)
        assert main(command) == 1
        assert "--accept-licence" in capsys.readouterr().err
        assert main([*command, "--accept-licence"]) == 0
    huggingface_hub.close_session()
    manifest = verify_release(tmp_path / "release")
    assert manifest.trained
    sources = {record["part"]: record for record in manifest.sources}
    assert list(sources) == ["llava_med", "medsam", "adapter", "heads", "vision_tower"]
    assert sources["medsam"] == {
        "part": "medsam",
        "name": MEDSAM_ID,
        "revision": hub.models[MEDSAM_ID].revision,
        "licence": "Apache-2.0",
        "sha256": {"medsam_vit_b.pth": hashlib.sha256(medsam).hexdigest()},
    }
    for path in files.llava_med.glob("*.safetensors"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert sources["llava_med"]["sha256"][path.name] == digest
    assert sources["vision_tower"]["name"] == "checkpoint of llava_med"
    assert {"adapter_config.json", "adapter_model.safetensors"} == set(sources["adapter"]["sha256"])
    served = tmp_path / "release" / "models" / "llava_med" / "1" / "vision_language"
    merged = load_vision_language(served, PRESET.vision_language).llava.state_dict()
    plain = build_checkpoint(PRESET, seed=5).organ_seg.vision_language.llava.state_dict()
    name = "model.language_model.layers.0.self_attn.{}_proj.weight"
    assert not torch.allclose(merged[name.format("q")], plain[name.format("q")])
    torch.testing.assert_close(merged[name.format("k")], plain[name.format("k")])


def test_another_vision_tower_is_recorded(parts, toy, tmp_path, monkeypatch):
    files, _ = parts
    tower = build_checkpoint(PRESET, seed=6).organ_seg.vision_language.vision_tower.state_dict()
    (tmp_path / "clip").mkdir()
    save_file(dict(tower), str(tmp_path / "clip" / "model.safetensors"))
    told = {}
    monkeypatch.setattr(
        "export.release.write_release",
        lambda checkpoint, *_, sources, **__: (
            told.update(sources=sources, checkpoint=checkpoint) or []
        ),
    )
    command = ["--llava-med", str(files.llava_med), "--vision-tower", str(tmp_path / "clip")]
    assert main([*command, "--out", str(tmp_path / "release")]) == 0
    assert [record["part"] for record in told["sources"]] == ["llava_med", "vision_tower"]
    assert told["sources"][1]["name"] == "clip"
    loaded = told["checkpoint"].organ_seg.vision_language.vision_tower.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in tower.items())
    assert not told["checkpoint"].card.trained


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--llava-med", "x", "--untrained"], "--untrained and --llava-med"),
        (["--medsam", "x", "--checkpoint", "y"], "--checkpoint and --medsam"),
        (["--adapter", "x"], "give --llava-med, too"),
        (["--vision-tower", "openai", "--medsam", "x"], "give --llava-med, too"),
        (["--llava-med", "./nowhere"], "no such path"),
    ],
)
def test_options_that_make_no_sense_end_with_a_sentence(tmp_path, capsys, arguments, said):
    assert main([*arguments, "--out", str(tmp_path / "release")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "release").exists()


def test_the_help_shows_the_one_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "--llava-med microsoft/llava-med-v1.5-mistral-7b --medsam" in said
    assert "--accept-licence" in said
