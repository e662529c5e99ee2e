from __future__ import annotations

import json
import math
import re

import pytest
from PIL import Image

from organseg.evaluation.command import main
from organseg.evaluation.models import UNTRAINED_NOTICE
from organseg.evaluation.provenance import describe_run
from organseg.evaluation.scans import SHARED_FOLDER

FILES = (
    "evaluation.json",
    "evaluation.md",
    "confusion.png",
    "dice.png",
    "reliability.png",
    "gallery.html",
)
SMALL = ("--phantom-slices", "8", "--phantom-size", "64", "--slices-per-organ", "1")
HEADINGS = (
    "What was evaluated",
    "Dice by organ (the paper's Table III)",
    "Beside baselines (the paper's Table II)",
    "All mask and box scores",
    "Which organ was answered, and what was rejected",
    "Confusion matrix (rows asked, columns answered)",
    "Right answers by the kind of question",
    "Calibration",
)


def run(out, *arguments):
    return main([*arguments, "--out", str(out), "--quiet", "--resamples", "50"])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The untrained tiny on a small phantom, with all baselines."""
    out = tmp_path_factory.mktemp("evaluation") / "new" / "folder"
    assert run(out, "--untrained", "--baselines", "--data", "phantom:1000", *SMALL) == 0
    return out


def read_record(out):
    def refuse(name):
        raise AssertionError(f"{name} in the record")

    return json.loads((out / "evaluation.json").read_text(), parse_constant=refuse)


def test_every_file_is_written_and_every_number_is_finite(evaluated):
    assert sorted(path.name for path in evaluated.iterdir()) == sorted(FILES)
    record = read_record(evaluated)
    dice = record["mean"]["dice_present"]
    assert math.isfinite(dice["value"])
    assert dice["count"] > 0
    for name in FILES[2:5]:
        with Image.open(evaluated / name) as picture:
            picture.verify()


def test_the_markdown_has_every_table_and_says_first_that_nothing_was_trained(evaluated):
    markdown = (evaluated / "evaluation.md").read_text()
    assert markdown.splitlines()[0] == "# tiny, untrained on phantom:1000"
    assert markdown.splitlines()[2] == f"> **{UNTRAINED_NOTICE}**"
    assert tuple(re.findall(r"^## (.*)$", markdown, re.MULTILINE)) == HEADINGS
    for row in ("oracle box", "whole-image box", "no question", "query-guided (tiny, untrained)"):
        assert f"\n| {row} |" in markdown


def test_the_record_says_what_it_belongs_to(evaluated):
    provenance = read_record(evaluated)["provenance"]
    assert provenance["command"].startswith("python -m organseg.evaluation --untrained")
    assert provenance["seed"] == "0"
    assert provenance["question set"] == "held_out"
    assert "torch" in provenance["packages"]
    assert {"commit", "machine", "python", "organseg", "weights", "asked"} <= set(provenance)


def test_neither_folders_nor_hosts_stand_in_the_record(evaluated):
    text = (evaluated / "evaluation.json").read_text()
    assert str(evaluated.parent) not in text
    assert "--out folder" in read_record(evaluated)["provenance"]["command"]
    given = [
        "--url",
        "ward7.example:8001",
        "--data",
        "scan:/home/me/a b.nii,/x/c.nii",
        "--out=/r/o",
    ]
    command = describe_run(given)["command"]
    assert command.endswith("--url HOST:8001 --data 'scan:a b.nii,c.nii' --out=o")


def test_a_phantom_of_the_training_range_is_told_before_every_number(tmp_path):
    assert run(tmp_path, "--untrained", "--data", "phantom:10000", *SMALL) == 0
    assert "seed 10000" in read_record(tmp_path)["notices"][1]


def test_the_gallery_lists_the_worst_first_and_says_untrained(evaluated):
    page = (evaluated / "gallery.html").read_text()
    scores = [float(score) for score in re.findall(r"Dice ([0-9.]+)<", page)]
    assert len(scores) > 3
    assert scores == sorted(scores)
    assert "<title>tiny, untrained on phantom:1000" in page


def test_a_few_slices_are_not_called_a_volume(evaluated):
    record = read_record(evaluated)
    assert record["mean"]["volume_dice_fixed"]["count"] == 0


def test_the_same_command_gives_the_same_record(evaluated, tmp_path):
    assert run(tmp_path, "--untrained", "--data", "phantom:1000", *SMALL) == 0
    first, again = read_record(evaluated), read_record(tmp_path)
    for record in (first, again):
        del record["provenance"], record["baselines"]
    assert again == first


def test_a_real_scan_is_evaluated(tmp_path, capsys):
    if not (SHARED_FOLDER / "ts_ct").is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    arguments = ("--untrained", "--data", "shared:ts_ct", "--slices-per-organ", "1")
    assert run(tmp_path, *arguments, "--questions", "names") == 0
    assert all((tmp_path / name).stat().st_size > 1000 for name in FILES)
    record = read_record(tmp_path)
    present = [row["dice_present"]["count"] > 0 for row in record["organs"]]
    assert present == [row["name"] != "esophagus" for row in record["organs"]]
    printed = capsys.readouterr().out
    assert UNTRAINED_NOTICE in printed
    assert "mean Dice, organ present:" in printed


@pytest.mark.server
def test_a_whole_volume_is_asked_of_a_server_which_says_what_it_serves(
    server_address, release, tmp_path
):
    arguments = ("--url", server_address, "--data", "phantom:1000", "--every-slice", "--baselines")
    small = ("--phantom-slices", "2", "--phantom-size", "64")
    assert run(tmp_path / "named", *arguments, *small, "--release", str(release)) == 0
    record = read_record(tmp_path / "named")
    assert record["mean"]["volume_dice_fixed"]["count"] == 13
    assert [row["name"] for row in record["baselines"]] == ["no question"]
    assert "box rows need --checkpoint" in record["provenance"]["baselines"]
    assert record["notices"] == [UNTRAINED_NOTICE]


@pytest.mark.server
def test_a_release_is_served_for_its_evaluation_and_let_go(release, tmp_path):
    small = ("--phantom-slices", "2", "--phantom-size", "64", "--slices-per-organ", "1")
    arguments = ("--release", str(release), "--data", "phantom:1000", *small)
    assert run(tmp_path, *arguments) == 0
    record = read_record(tmp_path)
    assert record["model"].startswith("tiny on python, served")
    assert record["questions"] > 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--untrained", "--data", "phantom:many"), "phantom:SEEDS"),
        (("--untrained", "--data", "flare22:no_such_folder"), "images/ and labels/"),
        (("--untrained", "--data", "scan:only_an_image.nii.gz"), "scan:IMAGE,LABELS"),
        (("--untrained", "--data", "shared:no_such_scan"), "shared/data"),
        (("--untrained", "--data", "phantom:1-2", "--data", "phantom:2:mr"), "phantom-2 twice"),
        (("--untrained", "--data", "phantom:1", "--release", "somewhere"), "--release alone"),
        (("--checkpoint", "no_such_folder", "--data", "phantom:1"), "checkpoint folder"),
        (("--url", "localhost:1", "--data", "phantom:1"), "check the address"),
        (("--url", "localhost:1", "--release", "none", "--data", "phantom:1"), "release folder"),
    ],
)
def test_each_error_is_one_sentence(arguments, said, tmp_path, capsys):
    assert run(tmp_path / "out", *arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("evaluation: wanted ")
    assert said in line


def test_a_file_in_the_place_of_the_results_is_found_out_before_the_work(tmp_path, capsys):
    place = tmp_path / "results"
    place.write_text("mine")
    assert run(place, "--untrained", "--data", "phantom:1") == 1
    assert "name another with --out" in capsys.readouterr().err
    assert place.read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "phantom:1"),
        ("--untrained",),
        ("--untrained", "--url", "localhost:8001", "--data", "phantom:1"),
        ("--untrained", "--data", "phantom:1", "--slices-per-organ", "0"),
        ("--untrained", "--data", "phantom:1", "--slices-per-organ", "2", "--every-slice"),
    ],
)
def test_arguments_that_make_no_sense_are_told_with_the_usage(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, *arguments)
    assert stopped.value.code == 2
    assert "usage: python -m organseg.evaluation" in capsys.readouterr().err


def test_the_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.count("python -m organseg.evaluation --") >= 4
    for name in FILES:
        assert name in text
