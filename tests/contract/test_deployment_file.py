"""Deployment files: what is read, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from organseg.contract.deployment_file import (
    KNOBS,
    Deployment,
    StageChoice,
    parse_deployment,
    read_deployment,
)
from organseg.errors import ContractError

DEPLOYMENT = Deployment(
    {
        "image_encoder": StageChoice(instances=2, threads=1, cores=(0, 1)),
        "mask_decoder": StageChoice(joins_requests=False, queue_delay_microseconds=0),
        "extractors": StageChoice(cores=()),
    },
    preset="tiny",
    platform="python",
    about={"made": "today"},
)


def test_a_deployment_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(DEPLOYMENT.to_json()))
    assert read_deployment(path) == DEPLOYMENT


def test_the_smallest_file_changes_nothing() -> None:
    assert parse_deployment({"schema": 1}) == Deployment()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "wanted the deployment file as a JSON object, got \\[\\]"),
        ({"stages": {}}, "schema 1, got None"),
        ({"schema": 2}, "schema 1, got 2"),
        ({"schema": 1, "stage": {}}, "among schema, preset, platform, about, stages, got 'stage'"),
        ({"schema": 1, "preset": 3}, "wanted preset as a text, got 3"),
        ({"schema": 1, "stages": []}, "wanted stages as a JSON object"),
        ({"schema": 1, "stages": {"gate": 2}}, "the knobs of gate as a JSON object, got 2"),
        ({"schema": 1, "about": "me"}, "wanted about as a JSON object"),
    ],
)
def test_a_document_of_another_form_is_refused(document: object, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        parse_deployment(document)


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"thread": 2}, f"knobs of gate among {', '.join(KNOBS)}, got 'thread'"),
        ({"threads": 0}, "threads of gate as a whole number from 1 to 1024, got 0"),
        ({"threads": True}, "threads of gate as a whole number .* got True"),
        ({"threads": "2"}, "threads of gate as a whole number .* got '2'"),
        ({"instances": 65}, "instances of gate as a whole number from 1 to 64, got 65"),
        ({"queue_delay_microseconds": -1}, "queue_delay_microseconds of gate .* got -1"),
        ({"joins_requests": 1}, "joins_requests of gate as true or false, got 1"),
        ({"cores": 0}, "cores of gate as a list of numbers, got 0"),
        ({"cores": [-1]}, "cores of gate as a whole number from 0"),
        ({"cores": [1, 1]}, "cores of gate each once"),
    ],
)
def test_a_knob_that_is_not_there_or_out_of_bounds_is_named(
    knobs: dict[str, object], told: str
) -> None:
    with pytest.raises(ContractError, match=told):
        parse_deployment({"schema": 1, "stages": {"gate": knobs}})


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_a_file_that_is_no_json_is_named_without_its_folder(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deployment.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ContractError, match=r"'deployment\.json' cannot be read") as caught:
        read_deployment(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"'none\.json' cannot be read as JSON .FileNotFoundError"
    ):
        read_deployment(tmp_path / "none.json")


def test_the_later_choice_wins_knob_by_knob() -> None:
    earlier = StageChoice(instances=2, threads=2)
    assert StageChoice(threads=1, cores=()).over(earlier) == StageChoice(2, 1, cores=())
