"""Accepts a release by what its users would feel: verdicts, organs and masks.

The reference flow answers questions about the sample slices twice: with the float32 torch modules
and with what is released in their place, graphs and language model. In fewer bits tensors always
differ; what counts is whether anybody could tell. It means something for trained weights alone:
masks of random ones are specks that any rounding moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn

from organseg.errors import ReleaseError
from organseg.evaluation.overlap import count_pixels
from organseg.imaging.decoding import DecodedImage, decode_image
from organseg.networks.extractors import Extraction, Extractors
from organseg.networks.gate import Thresholds
from organseg.networks.organ_seg import OrganSeg
from organseg.networks.segmenter import Segmenter
from organseg.networks.vision_language import VisionLanguage, VisionLanguageStates
from organseg.organs import ORGANS

SAMPLES = Path(__file__).resolve().parent.parent / "demo" / "samples"
"""Slices of the phantom, as the demo shows them."""

QUESTIONS = (
    *(f"Segment the {organ.name}." for organ in ORGANS),
    "Show me the liver and the spleen.",
    "Which organ stores bile?",
    "What is the capital of France?",
)
"""Every organ by name, several, one by what it does, and none."""

LEAST_DICE = 0.99
"""How well every non-empty mask has to agree with the float32 reference."""
LEAST_MASKS = 10
"""Fewer masks than that are too few to judge by."""


@dataclass(frozen=True)
class Acceptance:
    """How the answers of a release compare with those of float32 torch."""

    requests: int
    """Questions asked, all pictures together."""
    other_verdicts: int
    """Requests whose organs or verdicts differ."""
    masks: int
    """Masks that either draws, in requests answered alike."""
    least_dice: float
    """The worst agreement among them; 1 where there is none."""
    mean_dice: float
    """Their mean; 1 where there is none."""

    @property
    def holds(self) -> bool:
        """Whether nobody could tell."""
        return (
            self.other_verdicts == 0 and self.least_dice >= LEAST_DICE and self.masks >= LEAST_MASKS
        )


def accept(
    organ_seg: OrganSeg,
    graphs: Mapping[str, InferenceSession],
    thresholds: Thresholds,
    *,
    served: VisionLanguage | None = None,
    samples: Path = SAMPLES,
) -> Acceptance:
    """Asks every question about every sample slice; the masks are compared at its own size.

    Args:
        organ_seg: the float32 reference.
        graphs: a session of every graph stage, by the stage's name.
        thresholds: what the gate decides by.
        served: the language model as it is released; without it, the reference's on both sides.
        samples: a folder of PNG slices.

    Raises:
        ReleaseError: there are no slices.
    """
    preset = organ_seg.preset
    language = _AskedOnce(organ_seg.vision_language)
    other_language = _AskedOnce(served) if served else language
    drawn = _GraphSegmenter(graphs["image_encoder"], graphs["mask_decoder"])
    read = _GraphExtractors(graphs["extractors"])
    reference, exported = (
        # The flow calls these three by what they do; a graph's stand-in does the same.
        OrganSeg(
            preset,
            cast(VisionLanguage, asked),
            cast(Segmenter, _EncodedOnce(one)),
            cast(Extractors, other),
        )
        for asked, one, other in (
            (language, organ_seg.segmenter, organ_seg.extractors),
            (other_language, drawn, read),
        )
    )
    pictures = [
        decode_image(path.read_bytes())
        for path in sorted(samples.glob("*.png"))
        if not path.name.endswith(".labels.png")
    ]
    if not pictures:
        raise ReleaseError(f"wanted PNG slices in {samples.name}, found none: give another folder")
    return _compare(reference, exported, pictures, thresholds)


def require_acceptance(acceptance: Acceptance) -> None:
    """Raises `ReleaseError` that says what users would see."""
    if not acceptance.holds:
        raise ReleaseError(
            f"wanted the same verdicts and masks of Dice {LEAST_DICE} with float32 torch, got "
            f"{acceptance.other_verdicts} other verdicts in {acceptance.requests} requests and a "
            f"worst Dice of {acceptance.least_dice:.4f} over {acceptance.masks} masks (at least "
            f"{LEAST_MASKS} wanted): nothing was released; choose another --precision or "
            "--language-model, or give --accept-below-bar and the manifest will say so"
        )


def _compare(
    reference: OrganSeg,
    exported: OrganSeg,
    pictures: list[DecodedImage],
    thresholds: Thresholds,
) -> Acceptance:
    other, dices = 0, []
    for picture in pictures:
        for question in QUESTIONS:
            wanted = reference.answer(picture, question, thresholds).answer
            got = exported.answer(picture, question, thresholds).answer
            if (wanted.organs.tolist(), wanted.verdicts) != (got.organs.tolist(), got.verdicts):
                other += 1
                continue
            for one, two in zip(wanted.masks, got.masks, strict=True):
                pixels = count_pixels(one, two)
                if pixels.union:
                    dices.append(pixels.dice)
    return Acceptance(
        requests=len(pictures) * len(QUESTIONS),
        other_verdicts=other,
        masks=len(dices),
        least_dice=min(dices, default=1.0),
        mean_dice=float(np.mean(dices)) if dices else 1.0,
    )


class _AskedOnce(nn.Module):
    """A language model that remembers its states: both flows ask it the same."""

    def __init__(self, vision_language: VisionLanguage) -> None:
        super().__init__()
        self._vision_language = vision_language
        self._seen: tuple[Tensor, list[str], VisionLanguageStates] | None = None

    def forward(self, vlm_pixels: Tensor, questions: list[str]) -> VisionLanguageStates:
        seen = self._seen
        if seen is None or seen[1] != questions or not torch.equal(seen[0], vlm_pixels):
            seen = self._seen = (
                vlm_pixels,
                questions,
                self._vision_language(vlm_pixels, questions),
            )
        return seen[2]


class _EncodedOnce(nn.Module):
    """A segmenter that remembers the image it has encoded last."""

    def __init__(self, segmenter: Segmenter | _GraphSegmenter) -> None:
        super().__init__()
        self._segmenter = segmenter
        self._seen: tuple[Tensor, Tensor] | None = None

    def encode_image(self, sam_pixels: Tensor) -> Tensor:
        if self._seen is None or not torch.equal(self._seen[0], sam_pixels):
            self._seen = (sam_pixels, self._segmenter.encode_image(sam_pixels))
        return self._seen[1]

    def decode_masks(self, embeddings: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        return self._segmenter.decode_masks(embeddings, boxes)


class _GraphSegmenter(nn.Module):
    """`Segmenter`, run by its two graphs."""

    def __init__(self, encoder: InferenceSession, decoder: InferenceSession) -> None:
        super().__init__()
        self._encoder, self._decoder = encoder, decoder

    def encode_image(self, sam_pixels: Tensor) -> Tensor:
        (embeddings,) = _run(self._encoder, sam_pixels)
        return embeddings

    def decode_masks(self, embeddings: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        masks, quality = _run(self._decoder, embeddings, boxes)
        return masks, quality


class _GraphExtractors(nn.Module):
    """`Extractors`, run by its graph."""

    def __init__(self, session: InferenceSession) -> None:
        super().__init__()
        self._session = session

    def forward(self, answer_state: Tensor, patch_states: Tensor) -> Extraction:
        states = (answer_state.half(), patch_states.half())
        similarity, presence, boxes = _run(self._session, *states)
        # The graph gives probabilities; the reference flow wants their logits. F_t stays inside.
        return Extraction(similarity, presence.logit(), boxes, torch.empty(0))


def _run(session: InferenceSession, *inputs: Tensor) -> list[Tensor]:
    names = [each.name for each in session.get_inputs()]
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return [torch.from_numpy(array) for array in session.run(None, feed)]
