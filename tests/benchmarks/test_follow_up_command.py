"""`python -m benchmarks follow-up` on a real server, and the record that a report reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import follow_up_command
from benchmarks.__main__ import build_parser, main
from benchmarks.follow_up_command import question_pairs
from benchmarks.load.plan import WorkloadSpec
from benchmarks.record import read_record
from benchmarks.report.records import Kind, read_records
from benchmarks.statistics import StatisticsReader
from benchmarks.workload import made_up_picture
from organseg.errors import ImageError
from organseg.imaging.encoding import encode_npy

ENCODER = "image_encoder"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A user's own image file."""
    path = tmp_path / "picture.png"
    path.write_bytes(made_up_picture(20_261_131))
    return path


@pytest.mark.server
def test_a_further_question_is_held_against_the_first(
    release: Path,
    serving_again: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(follow_up_command, "serving", serving_again)
    record_file = tmp_path / "follow-up.json"
    arguments = ["--release", str(release), "--count", "2", "--json", str(record_file)]
    assert main(["follow-up", *arguments]) == 0
    assert "| reuse |" in capsys.readouterr().out
    (records,) = read_records([record_file])
    record = records.latest(Kind.FOLLOW_UP)
    assert record is not None
    (row,) = record.document["rows"]
    assert row["ratio"] == pytest.approx(row["follow_up_ms"] / row["first_ms"])
    assert record.document["images"] == 2
    assert record.document["workload"]["questions"] == "two fixed ones"
    assert records.preset == "tiny"


@pytest.mark.server
def test_a_running_server_is_asked_about_own_images_that_it_has_never_seen(
    server_address: str, picture: Path, tmp_path: Path
) -> None:
    record_file = tmp_path / "follow-up.json"
    arguments = ["--url", server_address, "--count", "1", "--json", str(record_file)]
    arguments += ["--images", str(picture), "--questions", "Outline the liver, please."]
    with StatisticsReader(server_address) as reader:
        before = reader.read_settled({})[ENCODER].requests
        for _ in range(2):
            assert main(["follow-up", *arguments]) == 0
        # Three of the warm-up and one that is timed, each encoded once, and again in the next run.
        wanted = before + 2 * 4
        assert reader.read_settled({ENCODER: wanted})[ENCODER].requests == wanted
    record = read_record(record_file)
    assert [row["image_features"] for row in record["rows"]] == ["reuse"]
    assert record["servers"]["reuse"]["address"] == server_address
    assert record["workload"] == {
        "images": "the files given",
        "questions": "those given",
        "seed": 0,
    }


@pytest.mark.server
def test_two_that_both_keep_are_refused_with_a_remedy(
    release: Path,
    server_address: str,
    serving_again: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(follow_up_command, "serving", serving_again)
    assert main(["follow-up", "--url", server_address, "--direct-release", str(release)]) == 1
    said = capsys.readouterr().err
    assert "got two of `reuse`" in said
    assert "leave --direct-release out" in said


def test_every_image_is_another_one_in_every_run_and_both_its_questions_have_it(
    picture: Path,
) -> None:
    spec = WorkloadSpec(images=(str(picture),))
    pairs = [pair for _ in range(2) for pair in question_pairs(spec, 3)]
    assert len({first.image for first, _ in pairs}) == 6
    assert all(first.image == further.image for first, further in pairs)
    assert picture.read_bytes() not in {first.image for first, _ in pairs}


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        ((), 2 * [("Which organ stores bile?", "Show me the liver.")]),
        (("a?",), 2 * [("a?", "a?")]),
        (("a?", "b?"), 2 * [("a?", "b?")]),
        (("a?", "b?", "c?"), [("a?", "b?"), ("c?", "a?")]),
    ],
)
def test_questions_are_asked_in_turn_two_for_each_image(
    texts: tuple[str, ...], asked: list[tuple[str, str]], picture: Path
) -> None:
    pairs = question_pairs(WorkloadSpec(images=(str(picture),), texts=texts), 2)
    assert [(first.text, further.text) for first, further in pairs] == asked


def test_an_image_that_cannot_be_marked_is_refused_before_a_server_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(encode_npy(np.zeros((64, 64), np.int16)))
    with pytest.raises(ImageError, match="save it as PNG"):
        question_pairs(WorkloadSpec(images=(str(path),)), 1)
    assert main(["follow-up", "--url", "127.0.0.1:1", "--images", str(path)]) == 1
    assert "save it as PNG" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["--release", "a", "--url", "b:1"]], ids=["neither", "both"]
)
def test_one_server_is_wanted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["follow-up", *arguments])
    assert "--release" in capsys.readouterr().err


def test_the_help_has_one_default_of_the_questions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["follow-up", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "'Which organ stores bile?' 'Show me the liver.'" in said
    assert "held-out" not in said
