"""Organ-Seg: the whole flow in one torch function, the reference for everything else.

The exported graphs, the server and the clients are all compared with `OrganSeg.answer`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from organseg.contract.presets import Preset
from organseg.imaging.decoding import DecodedImage
from organseg.imaging.postprocess import Answer, assemble_answer
from organseg.imaging.resizing import model_pixels
from organseg.networks.extractors import Extractors
from organseg.networks.gate import Thresholds, decide
from organseg.networks.segmenter import Segmenter
from organseg.networks.vision_language import VisionLanguage


@dataclass(frozen=True)
class ReferenceAnswer:
    """What the ensemble returns, from torch alone."""

    answer: Answer
    """Verdicts, masks and boxes in the image's own frame."""
    similarity: npt.NDArray[np.float32]
    """float32 [14], cosine of F_t with organs 1 to 13, then with C'."""
    presence: npt.NDArray[np.float32]
    """float32 [13], probability that the image shows each organ."""


class OrganSeg(nn.Module):
    """The parts of the figure: LLaVA-Med, the extractors with the context cache, MedSAM."""

    def __init__(
        self,
        preset: Preset,
        vision_language: VisionLanguage,
        segmenter: Segmenter,
        extractors: Extractors,
    ) -> None:
        """Joins the parts; it has no layers of its own."""
        super().__init__()
        self.preset = preset
        self.vision_language = vision_language
        self.segmenter = segmenter
        self.extractors = extractors

    @torch.inference_mode()
    def answer(self, image: DecodedImage, question: str, thresholds: Thresholds) -> ReferenceAnswer:
        """Asks one question about one image.

        Args:
            image: the decoded image, uint8 [H, W] in display orientation.
            question: the question in normal form (`organseg.questions.read_question`).
            thresholds: what the gate decides by; a context cache holds them.

        Returns:
            The answer, with the similarity and presence behind it.
        """
        sam_pixels = torch.from_numpy(model_pixels(image.pixels, self.preset.segmenter.image_size))
        vlm_pixels = torch.from_numpy(
            model_pixels(image.pixels, self.preset.vision_language.image_size)
        )

        # F_vl: image and question into one joint embedding.
        states = self.vision_language(vlm_pixels.unsqueeze(0), [question])
        # F_seg and F_t, the latter compared with the context cache.
        found = self.extractors(states.answer_state, states.patch_states)
        # I_out: what was asked for, and whether it is there.
        decision = decide(
            found.similarity[0].numpy(),
            found.presence_logits[0].sigmoid().numpy(),
            found.boxes[0].numpy(),
            image_is_blank=image.is_blank,
            thresholds=thresholds,
        )
        # MedSAM draws what is there.
        image_embeddings = self.segmenter.encode_image(sam_pixels.unsqueeze(0))
        prompt_boxes = torch.from_numpy(decision.prompt_boxes).unsqueeze(0)
        low_res_masks, mask_quality = self.segmenter.decode_masks(image_embeddings, prompt_boxes)

        answer = assemble_answer(
            low_res_masks[0].numpy(),
            mask_quality[0].numpy(),
            decision.prompt_boxes,
            decision.organs,
            decision.verdicts,
            display_size_hw=(image.pixels.shape[0], image.pixels.shape[1]),
            orientation=image.orientation,
        )
        return ReferenceAnswer(answer, found.similarity[0].numpy(), decision.organ_presence)
