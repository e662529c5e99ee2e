from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from constructed import BLANK_PICTURE, PICTURES, QUESTIONS, constructed_checkpoint
from organseg.errors import QuestionError
from organseg.evaluation.cases import Sample
from organseg.evaluation.predictors import ReferencePredictor, ServerPredictor
from organseg.evaluation.runner import evaluate
from organseg.evaluation.summary import summarize
from organseg.imaging.decoding import decode_image
from organseg.organs import ORGANS

ROUNDING = 5e-3
"""States travel to the extractors in half precision: a few pixels at a mask's edge may turn."""

UNSTEADY = ("bins", "auc", "surface_dice_slice", "surface_dice_official", "surface_dice_fixed")
"""Figures that such a rounding moves by more than itself.

A probability on a bin's edge changes sides; the constructed head makes the probabilities of
presence nearly equal, so that their ranks are chance; and the untrained decoder's masks are
specks, where one pixel more is a hundredth of the whole surface. The masks themselves are compared.
"""


@pytest.fixture(scope="module")
def reference():
    return ReferencePredictor(constructed_checkpoint())


@pytest.fixture(scope="module")
def samples():
    """Each constructed question on each constructed picture, and truths that are partly right."""
    made = []
    for number, picture in enumerate((*PICTURES[:2], BLANK_PICTURE)):
        pixels = decode_image(picture).pixels
        labels = np.zeros(pixels.shape, dtype=np.uint8)
        for place, organ_id in enumerate((1, 5, 9, 11)):
            labels[10 + 20 * place : 40 + 20 * place, 20 * place : 60 + 10 * place] = organ_id
        made += [
            Sample(
                patient_id=f"picture {number}",
                slice_index=0,
                pixels=pixels,
                question=question,
                asked_organ_ids=organ_ids,
                labels=labels,
                spacing_zyx_mm=(5.0, 1.0, 1.0),
                kind="pair" if len(organ_ids) > 1 else "name",
            )
            for question, organ_ids in QUESTIONS.items()
        ]
    return made


def record_of(predictor, samples):
    evaluation = evaluate(predictor, samples, show_progress=False)
    return summarize(evaluation, model="m", dataset="d", provenance={}, resamples=50)


def steady_numbers(value, path=""):
    """Every number of nested plain values that rounding leaves alone, by its path."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in UNSTEADY:
                yield from steady_numbers(part, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from steady_numbers(part, f"{path}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


@pytest.fixture(scope="module")
def in_torch(reference, samples):
    return record_of(reference, samples)


def test_the_reference_knows_the_constructed_answers(in_torch):
    record = in_torch
    assert record.answers.organ_choice.value == 1.0
    assert record.rejection.scope_n_acc.value == 1.0
    # A blank picture counts every organ as absent, though the truth here has four.
    assert record.rejection.absence_t_acc.value == pytest.approx(2 / 3)


@pytest.mark.server
def test_torch_reference_and_server_give_the_same_numbers(in_torch, samples, server_address):
    from organseg_client import OrganSegClient

    with OrganSegClient(server_address, deadline_s=120) as client:
        served = record_of(ServerPredictor(client), samples)
    assert served.confusion == in_torch.confusion
    assert served.kinds == in_torch.kinds
    assert served.answers == in_torch.answers
    assert served.rejection == in_torch.rejection
    records = [dataclasses.asdict(record) for record in (in_torch, served)]
    wanted, got = (dict(steady_numbers(plain)) for plain in records)
    assert got.keys() == wanted.keys()
    different = {
        path: (value, got[path])
        for path, value in wanted.items()
        if got[path] != pytest.approx(value, abs=ROUNDING)
    }
    assert not different
    assert in_torch.mean.dice_present.value > 0.0


@pytest.mark.server
def test_torch_reference_and_server_draw_the_same_masks(reference, samples, server_address):
    from organseg_client import OrganSegClient

    drawn = 0
    with OrganSegClient(server_address, deadline_s=120) as client:
        server = ServerPredictor(client)
        for sample in samples:
            in_torch = reference.predict(sample.pixels, sample.question).masks
            served = server.predict(sample.pixels, sample.question).masks
            assert served.shape == in_torch.shape
            assert (served != in_torch).mean(axis=(1, 2)).max(initial=0.0) < 1e-3
            drawn += served.any(axis=(1, 2)).sum()
    assert drawn > 0


def test_a_box_is_drawn_as_the_whole_flow_draws_it(reference):
    pixels = decode_image(PICTURES[0]).pixels
    answer = reference.predict(pixels, "Show me the liver and the aorta.")
    for box, mask in zip(answer.boxes_xyxy, answer.masks, strict=True):
        drawn = reference.segment_box(pixels, box)
        assert drawn.dtype == np.bool_
        assert (drawn != mask).mean() < 1e-3


def test_many_boxes_on_one_image_encode_it_once(monkeypatch):
    checkpoint = constructed_checkpoint()
    segmenter, encoded = checkpoint.organ_seg.segmenter, []
    encode = segmenter.encode_image
    monkeypatch.setattr(
        segmenter, "encode_image", lambda pixels: encoded.append(1) or encode(pixels)
    )
    predictor = ReferencePredictor(checkpoint)
    first, second = (decode_image(picture).pixels for picture in PICTURES[:2])
    for pixels in (first, first.copy(), second, second):
        predictor.segment_box(pixels, np.array([10, 10, 90, 80], dtype=np.float32))
    assert len(encoded) == 2


def test_an_image_changed_in_place_is_encoded_again(reference):
    pixels = decode_image(PICTURES[0]).pixels.copy()
    box = np.array([5, 5, 120, 100], dtype=np.float32)
    before = reference.segment_box(pixels, box)
    pixels[:] = pixels[::-1]
    fresh = ReferencePredictor(constructed_checkpoint()).segment_box(pixels.copy(), box)
    changed = reference.segment_box(pixels, box)
    assert (changed == fresh).all()
    assert (changed != before).any()


def test_a_blank_image_shows_no_organ(reference):
    answer = reference.predict(np.full((60, 70), 9, dtype=np.uint8), "Outline the liver, please.")
    assert answer.verdicts == ("absent_in_image",)
    assert not answer.masks.any()
    assert answer.presence.tolist() == [0.0] * len(ORGANS)


def test_an_empty_question_is_refused_as_the_server_refuses_it(reference):
    with pytest.raises(QuestionError, match="empty"):
        reference.predict(decode_image(PICTURES[0]).pixels, "  ")


def test_evaluating_a_server_needs_no_torch():
    script = (
        "import sys; import organseg.evaluation.command; import organseg_client; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
