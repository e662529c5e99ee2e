from __future__ import annotations

import dataclasses
import json

from organseg.evaluation.report import markdown_of, write_record
from organseg.evaluation.runner import Evaluation
from organseg.evaluation.summary import summarize
from organseg.organs import ORGANS


def rows_under(markdown, heading):
    section = markdown.split(f"## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_table_three_has_the_13_organs_in_id_order_and_their_mean(record):
    header, _, row = rows_under(markdown_of(record), "Dice by organ")
    assert header[1:] == [*(organ.name for organ in ORGANS), "mean"]
    values = dict(zip(header[1:], row[1:], strict=True))
    assert values["liver"] == f"{100 * record.organs[0].dice_present.value:.1f}"
    assert values["spleen"] == "50.0"
    assert values["aorta"] == "–"
    assert values["mean"] == f"{100 * record.mean.dice_present.value:.1f}"


def test_table_two_stands_the_method_beside_its_baselines(record):
    rows = rows_under(markdown_of(record), "Beside baselines")
    assert [row[0] for row in rows[2:]] == ["oracle box", "query-guided (tiny \\| untrained)"]
    assert rows[2][1:] == rows[3][1:]


def test_every_row_of_every_table_has_as_many_cells_as_its_header(record):
    markdown = markdown_of(record)
    for block in markdown.split("\n\n"):
        if block.startswith("|"):
            cells = {line.replace("\\|", "").count("|") for line in block.splitlines()}
            assert len(cells) == 1, block


def test_rates_are_printed_with_interval_and_count(record):
    rows = {row[0]: row[1:] for row in rows_under(markdown_of(record), "Which organ")}
    assert rows["absent in image: T-acc"] == ["75.0", "24", "3"]
    assert rows["out of scope: N-acc (false premise recognised)"] == ["100.0", "6", "3"]


def test_the_right_answers_of_each_kind_are_printed(record):
    rows = rows_under(markdown_of(record), "Right answers by the kind")
    assert rows[2:] == [["not told", "100.0", "30", "3"]]


def test_a_notice_stands_before_every_number(record):
    markdown = markdown_of(dataclasses.replace(record, notices=("The weights are untrained.",)))
    assert markdown.splitlines()[2] == "> **The weights are untrained.**"


def test_calibration_tells_presence_and_refusal_apart(record):
    rows = {row[0]: row[1:] for row in rows_under(markdown_of(record), "Calibration")}
    assert rows["stated probabilities"] == ["18", "30"]
    assert rows["AUC, %"][1] == "100.0"


def test_the_json_record_holds_every_number_and_its_provenance(record, tmp_path):
    as_json, as_markdown = write_record(record, tmp_path / "new" / "folder")
    data = json.loads(as_json.read_text())
    assert data["provenance"] == {"commit": "abc1234", "seed": "0"}
    assert data["organs"][0]["dice_present"]["value"] == record.organs[0].dice_present.value
    assert data["confusion"] == [list(row) for row in record.confusion]
    assert "abc1234" in as_markdown.read_text()


def test_an_empty_record_is_strict_json_and_says_not_scored(tmp_path):
    empty = summarize(Evaluation((), ()), model="m", dataset="d", provenance={})
    as_json, as_markdown = write_record(empty, tmp_path)
    assert json.loads(as_json.read_text(), parse_constant=lambda name: name)["mean"]
    assert "NaN" not in as_json.read_text()
    assert "–" in as_markdown.read_text()
