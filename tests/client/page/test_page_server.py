"""The page's HTTP interface against the real server with the shipped weights, without a browser."""

from __future__ import annotations

import gzip
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.server, pytest.mark.slow]

SAMPLE = Path(__file__).resolve().parents[3] / "demo" / "samples" / "ct_upper_abdomen.png"


def ask(page, scan: str, question: str = "Segment the liver.", scope: str = "slice"):
    asked = {"question": question, "scope": scope, "slice_index": 0}
    status, _, body = page.ask("POST", f"/api/scans/{scan}/answers", asked)
    return status, body


@pytest.fixture
def scan(page_process) -> str:
    status, opened = page_process.upload(("slice.png", SAMPLE.read_bytes()))
    assert status == 201
    return opened["id"]


def test_an_answer_carries_verdict_box_confidence_and_the_organs_colour(page_process, scan):
    status, body = ask(page_process, scan)
    answer = json.loads(body)
    assert (status, answer["verdict"], answer["number"]) == (201, "segmented", 1)
    (liver,) = answer["organs"]
    assert liver["colour_rgb"] == [176, 87, 62]
    assert 0 < liver["quality"] <= 1
    assert liver["area_pixels"] > 1000
    assert answer["presence"]["liver"] > 0.5


def test_labels_mask_and_picture_are_of_the_same_mask(page_process, scan):
    area = json.loads(ask(page_process, scan)[1])["organs"][0]["area_pixels"]
    path = f"/api/scans/{scan}/answers/1"
    status, headers, packed = page_process.ask("GET", f"{path}/labels")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    labels = np.frombuffer(gzip.decompress(packed), dtype=np.uint8).reshape(320, 320)
    assert np.count_nonzero(labels == 1) == area
    mask = page_process.ask("GET", f"{path}/files/mask.png")[2]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))), labels)
    picture = page_process.ask("GET", f"{path}/files/overlay.png")[2]
    assert Image.open(io.BytesIO(picture)).format == "PNG"


@pytest.mark.parametrize("file", ["mask.nii.gz", "seg.dcm", "virus.exe"])
def test_files_that_a_picture_cannot_be_written_as_are_refused_in_words(page_process, scan, file):
    ask(page_process, scan)
    status, _, body = page_process.ask("GET", f"/api/scans/{scan}/answers/1/files/{file}")
    assert status == 422
    assert json.loads(body)["error"]["words"].startswith("wanted ")


def test_a_picture_is_not_asked_about_as_a_volume(page_process, scan):
    status, body = ask(page_process, scan, scope="volume")
    event = json.loads(body)
    assert (status, event["kind"]) == (200, "error")
    assert "came a single image" in event["error"]["words"]


def test_a_question_that_is_empty_is_refused_with_the_clients_words(page_process, scan):
    status, body = ask(page_process, scan, question="   ")
    assert (status, json.loads(body)["error"]["kind"]) == (422, "bad_input")


def test_a_volume_is_answered_slice_by_slice_in_lines(page_process, shared_data):
    series = sorted((shared_data / "dcmqi_liver").glob("0*.dcm"))
    _, opened = page_process.upload(*[(path.name, path.read_bytes()) for path in series])
    status, body = ask(page_process, opened["id"], scope="volume")
    events = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert [each["kind"] for each in events[-2:]] == ["progress", "answer"]
    assert events[-2]["done"] == events[-2]["total"] == 3
    answer = events[-1]["answer"]
    assert answer["organs"][0]["volume_ml"] > 0
    path = f"/api/scans/{opened['id']}/answers/1/files"
    for name in ("mask.nii.gz", "seg.dcm"):
        assert page_process.ask("GET", f"{path}/{name}")[0] == 200


def test_a_server_that_comes_back_is_found_in_seconds(page_process, shipped_server, scan):
    assert ask(page_process, scan)[0] == 201
    shipped_server.stop()
    try:
        # Long enough for gRPC's own pauses to have grown to many seconds.
        for _ in range(30):
            assert ask(page_process, scan)[0] == 503
    finally:
        shipped_server.start()
    # The client looks for it every second, gRPC left alone after minutes.
    deadline = time.monotonic() + 30
    while (status := ask(page_process, scan)[0]) == 503 and time.monotonic() < deadline:
        pass
    assert status == 201
