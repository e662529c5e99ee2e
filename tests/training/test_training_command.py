"""The command line follows from the options; every option says what it does."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from original_files import write_originals
from training_toys import TOY_ORIGINAL

from organseg.training.__main__ import _base, _parser, _recipe, main
from organseg.training.command_line import field_docstrings
from organseg.training.options import ExtractorsOptions, LoopOptions, Recipe

STAGES = ("slices", "segmenter", "vision-language", "extractors", "calibrate", "assess", "all")


def test_every_option_is_documented():
    recipe = Recipe()
    for part in fields(recipe):
        kind = type(getattr(recipe, part.name))
        documented = field_docstrings(kind)
        assert documented.keys() == {field.name for field in fields(kind)}, kind


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_help(stage, capsys):
    with pytest.raises(SystemExit) as ended:
        main([stage, "--help"])
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_flags_change_the_fields_that_they_are_named_after():
    arguments = ["extractors", "--paper", "--no-bf16", "--learning-rate", "0.5", "--organs", "2"]
    recipe = _recipe(_parser().parse_args(arguments))
    assert recipe.extractors == ExtractorsOptions(paper=True, organs=2)
    assert recipe.extractors_loop.learning_rate == 0.5
    assert recipe.extractors_loop.bf16 is False
    assert recipe.segmenter_loop == Recipe().segmenter_loop


def test_one_seed_is_the_seed_of_every_stage():
    arguments = ["all", "--seed", "7", "--segmenter-steps", "3", "--extractors-paper"]
    recipe = _recipe(_parser().parse_args(arguments))
    loops = (recipe.segmenter_loop, recipe.vision_language_loop, recipe.extractors_loop)
    assert [loop.seed for loop in loops] == [7, 7, 7]
    assert recipe.segmenter_loop.steps == 3
    assert recipe.extractors.paper
    assert isinstance(loops[0], LoopOptions)


def test_a_stage_without_what_comes_before_it_says_which_command_to_run(tmp_path, capsys):
    assert main(["calibrate", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: wanted a checkpoint folder")
    assert main(["segmenter", "--out", str(tmp_path)]) == 1
    assert "python -m organseg.training slices" in capsys.readouterr().err


def test_senseless_options_end_with_a_message_not_a_trace(tmp_path, capsys):
    assert main(["segmenter", "--out", str(tmp_path), "--steps", "0"]) == 1
    assert "at least one step" in capsys.readouterr().err


def test_originals_are_read_from_paths_and_kept_for_the_record(tmp_path):
    files, _ = write_originals(tmp_path / "originals", TOY_ORIGINAL)
    arguments = ["extractors", "--out", str(tmp_path / "run"), "--llava-med", str(files.llava_med)]
    command = [*arguments, "--medsam", str(files.medsam)]
    assert _base(_parser().parse_args(command)) == files
    kept = json.loads((tmp_path / "run" / "sources.json").read_text())
    assert [(each["part"], each["name"]) for each in kept] == [
        ("llava_med", files.llava_med.name),
        ("medsam", files.medsam.name),
    ]
    assert all(len(digest) == 64 for each in kept for digest in each["sha256"].values())
    base = ["extractors", "--out", str(tmp_path / "run"), "--base", str(tmp_path)]
    assert _base(_parser().parse_args(base)) == tmp_path
    assert not (tmp_path / "run" / "sources.json").exists()


def test_an_original_that_is_neither_path_nor_hub_id_ends_with_a_sentence(tmp_path, capsys):
    command = ["extractors", "--out", str(tmp_path), "--medsam", "./nowhere.pth"]
    assert main(command) == 1
    assert "error: wanted medsam in ./nowhere.pth, there is no such path" in capsys.readouterr().err
    command += ["--base", str(tmp_path)]
    assert main(command) == 1
    assert "wanted --base alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "flag"), [("extractors", "--minutes"), ("all", "--extractors-minutes")]
)
def test_llava_med_is_not_trained_for_the_minutes_of_tiny(tmp_path, capsys, stage, flag):
    command = [stage, "--out", str(tmp_path), "--llava-med", "./nowhere"]
    assert main(command) == 1
    assert f"Give {flag} 0" in capsys.readouterr().err
    assert main([*command, flag, "0"]) == 1
    assert "wanted llava_med in ./nowhere" in capsys.readouterr().err
