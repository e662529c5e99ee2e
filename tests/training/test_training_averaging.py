"""The mean of checkpoints: every weight, and what does not belong together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from training_toys import TOY

from organseg.errors import CheckpointError
from organseg.networks.build import build_checkpoint
from organseg.networks.checkpoint import load_checkpoint, save_checkpoint
from organseg.training.__main__ import main
from organseg.training.averaging import averaged, write_average


def weights_of(checkpoint):
    return {name: value.clone() for name, value in checkpoint.organ_seg.state_dict().items()}


def test_every_weight_is_the_mean_and_one_named_twice_weighs_twice(tmp_path):
    for seed in (1, 2):
        save_checkpoint(build_checkpoint(TOY, seed=seed), tmp_path / str(seed))
    one, other = (load_checkpoint(tmp_path / name, TOY) for name in "12")
    first, second = weights_of(one), weights_of(other)
    write_average([tmp_path / name for name in "122"], TOY, tmp_path / "mean")
    mean = weights_of(load_checkpoint(tmp_path / "mean", TOY))
    assert mean.keys() == first.keys()
    for name, value in mean.items():
        if value.is_floating_point():
            expected = (first[name] + 2 * second[name]) / 3
            torch.testing.assert_close(value, expected, rtol=2e-3, atol=2e-4)
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert [path.rsplit("/", 1)[-1] for path in record["average_of"]] == ["1", "2", "2"]


def test_a_mean_with_itself_is_the_checkpoint():
    before = weights_of(build_checkpoint(TOY, seed=3))
    mean = averaged([build_checkpoint(TOY, seed=3), build_checkpoint(TOY, seed=3)])
    for name, value in weights_of(mean).items():
        torch.testing.assert_close(value, before[name])


def test_the_mean_talks_where_all_do():
    talking, silent = build_checkpoint(TOY, seed=1), build_checkpoint(TOY, seed=1)
    silent = replace(silent, card=replace(silent.card, talks=False))
    assert talking.card.talks
    assert not averaged([talking, silent]).card.talks


def test_checkpoints_of_two_text_encoders_are_refused():
    one, other = build_checkpoint(TOY, seed=1), build_checkpoint(TOY, seed=1)
    other = replace(other, card=replace(other.card, text_encoder_sha256="0" * 64))
    with pytest.raises(CheckpointError, match="one text encoder"):
        averaged([one, other])


def test_one_checkpoint_alone_is_refused_on_the_command_line(tmp_path, capsys):
    assert main(["average", str(tmp_path / "only"), "--out", str(tmp_path)]) == 1
    assert "two checkpoints or more" in capsys.readouterr().err
