"""What answers the questions of an evaluation: the torch reference, or a running server.

Neither torch nor the client is imported before it is needed: evaluating a server needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from organseg.evaluation.cases import Prediction
from organseg.evaluation.overlap import Mask
from organseg.imaging.decoding import DecodedImage
from organseg.imaging.masks import postprocess_mask
from organseg.imaging.orientation import IDENTITY
from organseg.imaging.resizing import model_pixels
from organseg.imaging.windowing import Modality
from organseg.questions import read_question

if TYPE_CHECKING:
    from organseg.networks.checkpoint import Checkpoint
    from organseg_client import OrganSegClient

__all__ = ["ReferencePredictor", "ServerPredictor"]


class ReferencePredictor:
    """Answers with `OrganSeg.answer`, the whole flow in torch; draws boxes for the baselines."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Takes a loaded checkpoint as it is."""
        self._organ_seg = checkpoint.organ_seg
        self._thresholds = checkpoint.cache.thresholds
        self._embedded: tuple[npt.NDArray[np.uint8], Any] | None = None

    def predict(self, pixels: npt.NDArray[np.uint8], question: str) -> Prediction:
        """The answer, from uint8 [H, W] in display orientation and a question in plain words.

        Raises `QuestionError` as the server would.
        """
        image = DecodedImage(
            pixels=np.ascontiguousarray(pixels),
            orientation=IDENTITY,
            is_blank=bool(pixels.min() == pixels.max()),
            modality=Modality.UNKNOWN,
        )
        found = self._organ_seg.answer(
            image, read_question(question.encode("utf-8")), self._thresholds
        )
        return Prediction(
            organ_ids=tuple(int(organ_id) for organ_id in found.answer.organs),
            verdicts=tuple(verdict.value for verdict in found.answer.verdicts),
            masks=found.answer.masks,
            boxes_xyxy=found.answer.boxes,
            similarity=found.similarity,
            presence=found.presence,
        )

    def segment_box(self, pixels: npt.NDArray[np.uint8], box_xyxy: npt.NDArray[np.float32]) -> Mask:
        """What the segmenter draws in a box, bool [H, W]; box `[x0, y0, x1, y1]` in pixels.

        Successive boxes on one image encode it once.
        """
        import torch

        height, width = pixels.shape
        fractions = box_xyxy / np.array([width, height, width, height], dtype=np.float32)
        with torch.inference_mode():
            low_res_masks, _ = self._organ_seg.segmenter.decode_masks(
                self._embed(pixels), torch.from_numpy(fractions.astype(np.float32)).view(1, 1, 4)
            )
        return postprocess_mask(low_res_masks[0, 0].numpy(), (height, width))

    def _embed(self, pixels: npt.NDArray[np.uint8]) -> Any:
        import torch

        if self._embedded is None or not np.array_equal(self._embedded[0], pixels):
            size = self._organ_seg.preset.segmenter.image_size
            resized = torch.from_numpy(model_pixels(pixels, size))
            embedding = self._organ_seg.segmenter.encode_image(resized.unsqueeze(0))
            self._embedded = pixels.copy(), embedding
        return self._embedded[1]


class ServerPredictor:
    """Answers with a running server; pixels travel as a lossless PNG."""

    def __init__(self, client: OrganSegClient) -> None:
        """Takes an open client; closing it is the caller's."""
        self._client = client

    def predict(self, pixels: npt.NDArray[np.uint8], question: str) -> Prediction:
        """The answer, from uint8 [H, W] in display orientation and a question in plain words.

        Raises what `OrganSegClient.segment` raises.
        """
        result = self._client.segment(pixels, question)
        return Prediction(
            organ_ids=tuple(organ.id for organ in result.organs),
            verdicts=tuple(organ.verdict.value for organ in result.organs),
            masks=result.masks,
            boxes_xyxy=result.boxes,
            similarity=result.similarity,
            presence=result.presence,
        )
