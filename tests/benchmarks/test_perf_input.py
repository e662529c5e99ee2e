"""The input file for perf_analyzer: decoded again, it is what was to be sent."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.workload import make_workload
from constructed import PICTURES
from organseg.contract import TINY, ensemble_tensors


def decoded(content: dict[str, str]) -> bytes:
    """A BYTES element by the format's rule, written out here once more."""
    raw = base64.b64decode(content["b64"], validate=True)
    (length,) = struct.unpack("<I", raw[:4])
    assert len(raw) == 4 + length
    return raw[4:]


def test_the_file_decodes_back_to_the_images_and_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(PICTURES))]
    for path, picture in zip(paths, PICTURES, strict=True):
        path.write_bytes(picture)
    out = tmp_path / "made" / "requests.json"
    status = main(
        ["perf-input", "--out", str(out), "--requests", "4", "--images", *map(str, paths)]
    )
    assert status == 0
    assert capsys.readouterr().out.strip() == str(out)

    entries = json.loads(out.read_text())["data"]
    assert [decoded(entry["IMAGE"]["content"]) for entry in entries] == list(PICTURES)
    wanted = [question.text for question in make_workload(4, paths).questions]
    assert [decoded(entry["QUERY"]["content"]).decode() for entry in entries] == wanted


def test_every_required_input_of_the_contract_is_given_with_its_shape(tmp_path: Path) -> None:
    out = tmp_path / "requests.json"
    assert main(["perf-input", "--out", str(out), "--requests", "2"]) == 0
    inputs, _ = ensemble_tensors(TINY)
    required = {tensor.name: list(tensor.shape()) for tensor in inputs if not tensor.optional}
    for entry in json.loads(out.read_text())["data"]:
        assert {name: given["shape"] for name, given in entry.items()} == required


def test_the_callers_own_questions_are_asked_in_turn(tmp_path: Path) -> None:
    out, image = tmp_path / "requests.json", tmp_path / "slice.png"
    image.write_bytes(PICTURES[0])
    questions = ["Where is the liver?", "Où est la rate ?"]
    asked = ["--images", str(image), "--questions", *questions]
    assert main(["perf-input", "--out", str(out), "--requests", "3", *asked]) == 0
    entries = json.loads(out.read_text())["data"]
    texts = [decoded(entry["QUERY"]["content"]).decode() for entry in entries]
    assert texts == [*questions, questions[0]]
    assert decoded(entries[0]["IMAGE"]["content"]) == PICTURES[0]


def test_an_empty_question_of_the_callers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--out", str(tmp_path / "requests.json"), "--requests", "1", "--questions", " "]
    assert main(["perf-input", *arguments]) == 1
    assert "wanted a question in words" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["perf-input", "--out", str(tmp_path), "--requests", "1"]) == 1
    assert repr(tmp_path.name) in capsys.readouterr().err
