"""The flow in torch's eager mode: one request as the reference answers it, or a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.peers.weights import Reference
from organseg.imaging.decoding import DecodedImage, decode_image
from organseg.imaging.orientation import DisplayOrientation
from organseg.imaging.postprocess import Answer, assemble_answer
from organseg.imaging.preprocess import PreparedRequest
from organseg.networks.gate import GateDecision, decide
from organseg.questions import read_question


class TorchFlow:
    """One request after the other, by `OrganSeg.answer`: the paper's flow as it stands."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def prepare(self, image: bytes, question: bytes) -> tuple[DecodedImage, str]:
        """What can be done before the model's turn; raises `InvalidInputError`."""
        return read_decoded(image, question)

    def answer(self, prepared: tuple[DecodedImage, str]) -> Answer:
        """The answer to one prepared request."""
        image, question = prepared
        reference = self._reference
        return reference.organ_seg.answer(image, question, reference.thresholds).answer


def read_decoded(image: bytes, question: bytes) -> tuple[DecodedImage, str]:
    """Image and question, checked; the question first, since that costs nothing."""
    text = read_question(question)
    return decode_image(image, None), text


@torch.inference_mode()
def answer_batch(reference: Reference, requests: Sequence[PreparedRequest]) -> list[Answer]:
    """The answers to several requests, each network called once for all of them.

    The mask decoder takes images with equally many boxes at once, so it is called once for each
    number of boxes; `gate` pads these to few numbers.
    """
    organ_seg = reference.organ_seg
    vlm_pixels = torch.from_numpy(np.stack([request.vlm_pixels for request in requests]))
    sam_pixels = torch.from_numpy(np.stack([request.sam_pixels for request in requests]))
    states = organ_seg.vision_language(vlm_pixels, [request.question for request in requests])
    found = organ_seg.extractors(states.answer_state, states.patch_states)
    presence = found.presence_logits.sigmoid()
    embeddings = organ_seg.segmenter.encode_image(sam_pixels)
    decisions = [
        decide(
            found.similarity[row].numpy(),
            presence[row].numpy(),
            found.boxes[row].numpy(),
            image_is_blank=bool(request.image_is_blank.item()),
            thresholds=reference.thresholds,
        )
        for row, request in enumerate(requests)
    ]
    rows_by_prompts: dict[int, list[int]] = defaultdict(list)
    for row, decision in enumerate(decisions):
        rows_by_prompts[len(decision.organs)].append(row)
    answers: dict[int, Answer] = {}
    for rows in rows_by_prompts.values():
        boxes = torch.from_numpy(np.stack([decisions[row].prompt_boxes for row in rows]))
        masks, quality = organ_seg.segmenter.decode_masks(embeddings[rows], boxes)
        for place, row in enumerate(rows):
            answers[row] = assembled(
                requests[row], decisions[row], masks[place].numpy(), quality[place].numpy()
            )
    return [answers[row] for row in range(len(requests))]


def assembled(
    request: PreparedRequest,
    decision: GateDecision,
    low_res_masks: npt.NDArray[Any],
    mask_quality: npt.NDArray[np.float32],
) -> Answer:
    """The answer to one request, from what its gate decided and its decoder drew."""
    height, width = (int(side) for side in request.image_size_hw)
    return assemble_answer(
        low_res_masks,
        mask_quality,
        decision.prompt_boxes,
        decision.organs,
        decision.verdicts,
        display_size_hw=(height, width),
        orientation=DisplayOrientation.from_array(request.image_orientation),
    )
