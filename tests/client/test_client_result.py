"""The result as JSON, as a picture, and as a label file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from client_fakes import (
    BOTH_KIDNEYS,
    LIVER_BUT_NO_SPLEEN,
    OUT_OF_SCOPE,
    Entries,
    FakeTransport,
)
from PIL import Image

from organseg.organs import ANSWERS, ORGANS, organ_by_id
from organseg_client import OrganSegClient, SegmentationResult

GREY = np.full((300, 600), 100, dtype=np.uint8)
GREY[0, 0] = 0


def answer(entries: Entries) -> SegmentationResult:
    return OrganSegClient(transport=FakeTransport(entries=entries)).segment(GREY, "Which?")


def test_json_has_everything_but_masks_whose_areas_it_gives_in_pixels() -> None:
    result = answer(LIVER_BUT_NO_SPLEEN)
    data = json.loads(result.to_json())
    assert data == result.to_dict()
    assert data["verdict"] == "segmented"
    assert data["reason"] == result.reason
    liver, spleen = data["organs"]
    assert liver == {
        "id": 1,
        "letter": "A",
        "name": "liver",
        "verdict": "segmented",
        "box_xyxy": [0.0, 1.0, 299.0, 150.0],
        "area_pixels": 149 * 299,
        "quality": 0.75,
    }
    assert spleen["verdict"] == "absent_in_image"
    assert spleen["area_pixels"] == 0
    assert data["image_size_hw"] == [300, 600]
    assert list(data["similarity"]) == [organ.name for organ in ANSWERS]
    assert list(data["presence"]) == [organ.name for organ in ORGANS]
    assert data["presence"]["left kidney"] == 1.0
    assert data["request_id"] == result.request_id
    assert "masks" not in data
    assert "\n" not in result.to_json()
    assert json.loads(result.to_json(indent=2)) == data


def test_the_overlay_tints_each_organ_in_its_colour_and_leaves_the_rest() -> None:
    result = answer(BOTH_KIDNEYS)
    picture = np.asarray(result.overlay()).astype(int)
    assert picture.shape[1:] == (600, 3)
    assert picture.shape[0] >= 300
    assert (picture[250, 100] == 100).all()
    for organ, column in zip(result.organs, (150, 450), strict=True):
        shift = picture[75, column] - 100
        towards = np.array(organ_by_id(organ.id).color_rgb) - 100
        assert shift @ towards > 0.8 * np.linalg.norm(shift) * np.linalg.norm(towards) > 0


def test_a_blank_answer_still_has_an_overlay() -> None:
    picture = np.asarray(answer(OUT_OF_SCOPE).overlay()).astype(int)
    assert (picture[20:280, 20:580] == 100).all()


def test_a_label_file_holds_organ_ids(tmp_path: Path) -> None:
    result = answer(BOTH_KIDNEYS)
    result.write_label_png(tmp_path / "labels.png")
    with Image.open(tmp_path / "labels.png") as picture:
        labels = np.asarray(picture)
    assert labels.shape == (300, 600)
    np.testing.assert_array_equal(labels == 2, result.masks[0])
    np.testing.assert_array_equal(labels == 13, result.masks[1])


def test_a_result_cannot_be_changed_and_prints_without_its_arrays() -> None:
    result = answer(BOTH_KIDNEYS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.request_id = "other"  # type: ignore[misc]
    assert "right kidney" in repr(result)
    assert "array" not in repr(result)
    assert len(repr(result)) < 600
