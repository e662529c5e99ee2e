"""The whole flow on one device gives the reference's answers, asked once and asked again."""

from __future__ import annotations

import copy

import pytest

from benchmarks.gpu.device import CudaDevice, Device
from benchmarks.gpu.request import Flow
from constructed import PICTURES, QUESTIONS, constructed_checkpoint
from export.precision import Precision
from organseg.imaging.decoding import decode_image
from organseg.imaging.postprocess import Answer

ASKED = list(QUESTIONS)[:5]
WHOLE, HALF = 0.98, 0.8
"""Least Dice in float32 and with bfloat16. Masks of random weights are small and flat: where logits
are near zero, rounding decides pixels (on a CPU in bfloat16 down to 0.92)."""


def reference(picture: bytes, question: str) -> Answer:
    checkpoint = constructed_checkpoint()
    decoded = decode_image(picture)
    thresholds = checkpoint.cache.thresholds
    return checkpoint.organ_seg.answer(decoded, question, thresholds).answer


def assert_same(answer: Answer, wanted: Answer, *, least_dice: float) -> None:
    """The same organs and verdicts, and masks that agree so far."""
    assert answer.organs.tolist() == wanted.organs.tolist()
    assert answer.verdicts == wanted.verdicts
    for mask, drawn in zip(answer.masks, wanted.masks, strict=True):
        both = int((mask & drawn).sum())
        assert 2 * both >= least_dice * (int(mask.sum()) + int(drawn.sum()))


def flow_on(device: Device, precision: Precision) -> Flow:
    checkpoint = constructed_checkpoint()
    organ_seg = copy.deepcopy(checkpoint.organ_seg).to(device.name)
    return Flow(organ_seg, device, precision, checkpoint.cache.thresholds)


def assert_answers_as_the_reference(flow: Flow, *, least_dice: float) -> None:
    picture = PICTURES[0]
    flow.read(picture, ASKED[0])
    for question in ASKED:
        wanted = reference(picture, question)
        assert_same(flow.answer(picture, question), wanted, least_dice=least_dice)
        assert_same(flow.answer_again(question), wanted, least_dice=least_dice)


def test_the_flow_on_the_cpu_answers_as_the_reference(cpu):
    assert_answers_as_the_reference(flow_on(cpu, Precision.FP32), least_dice=WHOLE)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_the_flow_on_a_gpu_answers_as_the_reference_on_the_cpu(cuda: CudaDevice, precision):
    least_dice = WHOLE if precision is Precision.FP32 else HALF
    assert_answers_as_the_reference(flow_on(cuda, precision), least_dice=least_dice)


def test_another_question_wants_an_image_that_was_read(cpu):
    with pytest.raises(RuntimeError, match="image to be read"):
        flow_on(cpu, Precision.FP32).answer_again("liver")


def test_a_damaged_image_is_refused_as_everywhere(cpu):
    from organseg.errors import ImageError

    with pytest.raises(ImageError):
        flow_on(cpu, Precision.FP32).answer(b"no image", "liver")
